"""Write what a target's detector trains on as one dataset in another tool's layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lat.commands.export import Content, ExportSummary, export
from lat.core.errors import InputError
from lat.data.dataset import DetectionDataset
from lat.data.joined import JoinedDataset
from lat.formats import corrections
from lat.formats.exports import FORMATS
from lat.workspace.reviewed_labels import read_trained
from lat.workspace.run_folder import url_folder
from lat.workspace.workspace import Workspace


def export_run(
    workspace: Workspace, form: str, out: Path, target: str = "", *, min_score: float | None = None, copy: bool = False
) -> ExportSummary:
    """Write the training images of a target and all sources, with the target's labels, and its held-out images as `val`.

    The labels of the sources are those that `lat train-downstream` trains on, reviews included; a source without any is left out.

    Args:
        workspace: the run; its labels have been transferred.
        form: a key of `FORMATS` in which detectors are trained.
        out: the folder to create; it may exist if it is empty.
        target: the dataset; may be left out if the run has one target.
        min_score: boxes with a lower score are left out, `downstream.labels.trained_threshold` by default: other tools take every
            box for certain.
        copy: copy the images instead of linking them.

    Raises:
        InputError: if the target is not one of the run or the labels do not exist yet, or as for `export`.
    """
    if (folder := url_folder(workspace.config.output_dir)) is not None:
        folder.pull()
    targets = workspace.config.target_names
    trained = [name for name in FORMATS if name not in corrections.FORMATS]
    if form not in trained:
        what = f"is '{form}', and a run is exported for training"
        raise InputError("--to", what, f"choose {', '.join(trained)}; for review, name a single labels file")
    if not target and len(targets) > 1:
        raise InputError("--target", "is missing", f"choose among {', '.join(targets)}")
    target = target or targets[0]
    if target not in targets:
        raise InputError("--target", f"is '{target}'", f"choose among {', '.join(targets)}")
    least = workspace.config.downstream.labels.trained_threshold if min_score is None else min_score
    datasets: dict[str, DetectionDataset] = {"train": JoinedDataset.of(target, _parts(workspace, target, least))}
    if (held_out := workspace.data.validation_part(target)) is not None:
        datasets["val"] = held_out
    return export(Content(datasets), form, out, copy=copy, min_score=least)


def _parts(workspace: Workspace, target: str, min_score: float) -> list[DetectionDataset]:
    parts = [workspace.data.train_part(target)]
    for source in workspace.others(target):
        part, labels = read_trained(workspace, source, target)
        if (labels.scores >= min_score).any():
            parts.append(replace(part, labels=labels))
    return parts
