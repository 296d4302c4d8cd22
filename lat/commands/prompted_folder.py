"""Label a folder of images with a promptable model, without a run: the second dataset of whoever has one alone."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np

from lat.commands.prompted_labels import Labeller, PromptedShards, Prompting
from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.data.dataset import DetectionDataset
from lat.data.image_headers import file_size_hw
from lat.engine.executors import do_here
from lat.engine.jobs import missing_shards
from lat.engine.processes import started_processes
from lat.engine.runtime import build_fabric
from lat.engine.training_settings import RuntimeSettings
from lat.formats.importers.folders import IMAGE_SUFFIXES
from lat.labels.table import LabelTable
from lat.workspace.label_shards import work_folder


def label_folder(images: Path, out: Path, asked: Prompting) -> LabelTable:
    """Label all images in a folder and those below it; who was stopped goes on where they were.

    Args:
        images: the folder.
        out: the COCO file to write; its images are named from the folder.
        asked: the model and its prompts.

    Returns:
        The labels.

    Raises:
        InputError: if nothing is asked for, the file exists, the folder has no images or one that cannot be read, the model
            cannot be read, or torchrun or srun started several processes.
    """
    if not asked.prompts:
        raise InputError("--prompts", "is missing", "name a YAML file with a text for each class")
    if out.exists():
        raise InputError(out, "already exists", "name another file with --out")
    if started_processes() != (1, 1):
        raise InputError("lat label", "labels a folder in one process", "start it without torchrun or srun")
    part = DetectionDataset(images.resolve().name, images, _unlabelled(images, out, asked.space))
    folder = work_folder(out.parent, out)
    job = PromptedShards(part, out, folder, Labeller(asked, build_fabric(RuntimeSettings(), seed=0)), asked.sha256())
    do_here(job, missing_shards(job))
    job.finish()
    table = job.shards.read()
    shutil.rmtree(folder)
    with suppress(OSError):  # other shards are there
        folder.parent.rmdir()
    return table


def _unlabelled(folder: Path, path: Path, space: LabelSpace) -> LabelTable:
    """The images in a folder and those below it, in order of their names, without boxes."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith("."))
    if not files:
        raise InputError(folder, "has no images", f"name a folder with images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return LabelTable(
        path=path,
        space=space,
        image_ids=np.arange(1, len(files) + 1),
        file_names=tuple(file.relative_to(folder).as_posix() for file in files),
        sizes_hw=np.array([_size_hw(file) for file in files], dtype=np.int32),
        splits=("",) * len(files),
        offsets=np.zeros(len(files) + 1, np.int64),
        boxes_xyxy=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        scores=np.zeros(0, np.float32),
        is_crowd=np.zeros(0, bool),
        annotation_ids=np.zeros(0, np.int64),
    )


def _size_hw(path: Path) -> tuple[int, int]:
    with path.open("rb") as file:
        return file_size_hw(path, file)
