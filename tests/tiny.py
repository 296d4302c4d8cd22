"""A whole run in a few seconds: three datasets of a handful of street scenes, a few steps of training each."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from lat.commands.draw_street_scenes import benchmark_config
from lat.config.load import load_config
from lat.core.structures import LabeledBoxes
from lat.labels.coco.write import write_labels
from lat.pipeline.run import run_stages
from lat.street_scenes import SceneSettings, draw_street_scenes
from lat.workspace.workspace import Workspace

FEW_STEPS = [
    "upstream.training.steps=4",
    "upstream.training.batch_size=2",
    "augmentation.scale=[1,1]",  # four steps learn nothing from scaled images
    "training.checkpoint_every=1",
    "upstream.model.max_detections=10",
    "pseudo_label.threshold=0.05",
    "lat.training.steps=6",
    "lat.training.batch_size=2",
    "training.checkpoint_every=1",
    "training.log_every=2",
    "lat.head.dim=16",
    "lat.head.pooled_size=3",
    "transfer.decode.written_threshold=0.0",
    "transfer.decode.max_detections=10",
]
TWO_MEMBERS = ["target=city", "rounds.count=0", "upstream.members=[{training: {steps: 5}}]"]
DATASETS = ("city", "nu", "way")
PAIRS = [(s, t) for s in DATASETS for t in DATASETS if s != t]


OTHERS = {".state", ".work", "tensorboard", "wandb", "mlflow", "trackers.json", "config.yaml"}


def quiet(line: str) -> None:
    """Swallow progress."""


def draw_tiny(folder: Path, images: int = 3) -> Path:
    """Draw so many images per dataset and write a configuration that trains a few steps; returns its path."""
    draw_street_scenes(
        folder / "data", SceneSettings(train_images=dict.fromkeys(DATASETS, images), val_images=1, annotators="exact")
    )
    path = folder / "config.yaml"
    path.write_text(benchmark_config(str(folder / "data"), str(folder / "run")), encoding="utf-8")
    return path


def tiny_workspace(config: Path, output_dir: Path | str, *overrides: str) -> Workspace:
    return Workspace(load_config(config, [*FEW_STEPS, f"output_dir={output_dir}", *overrides]))


def labelled_workspace(config: Path, output_dir: Path, scores: Mapping[str, float]) -> Workspace:
    """A run towards city whose transferred labels are one truck per image, of one score in each source."""
    workspace = tiny_workspace(config, output_dir, "target=city")
    space = workspace.data.space("city")
    for source, score in scores.items():
        images = workspace.data.train_part(source).labels
        box = LabeledBoxes(torch.tensor([[1.0, 2, 11, 22]]), torch.tensor([1]), space, torch.tensor([score]))
        write_labels(workspace.paths.transferred(source, "city"), images, space, [box] * len(images), info={})
    return workspace


def result_bytes(output_dir: Path) -> dict[str, bytes]:
    """Every result of a run by relative path: all but trackers' time-stamped figures, shards and the records of the run.

    The way from the report to the images is left out, for it depends on where the run lies.
    """
    return {
        str(path.relative_to(output_dir)): re.sub(rb'"folder":"[^"]*"', b"", path.read_bytes())
        for path in sorted(output_dir.rglob("*"))
        if path.is_file() and OTHERS.isdisjoint(path.parts)
    }


class EndedError(BaseException):
    """Ends a run where it is, as a kill does; what kills a process, and when, is tried in `tests/faults`."""


def end_when_there(config: Path, run: Path, file: Path, *settings: str) -> None:
    """Do a run until `file` has been written; nothing is done after that."""
    replace = os.replace

    def replace_and_end(source: Any, target: Any) -> None:
        replace(source, target)
        if Path(target) == file:
            raise EndedError

    with mock.patch("os.replace", replace_and_end):
        try:
            run_stages(tiny_workspace(config, run, *settings), say=quiet)
        except EndedError:
            return
    raise AssertionError(f"{file} was not written")
