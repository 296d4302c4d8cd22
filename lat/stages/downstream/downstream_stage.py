"""The steps of the downstream stage: label the sources, unless the method is label transfer, then train."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lat.config.sections import DOWNSTREAM_METHODS
from lat.core.errors import InputError
from lat.detectors.base import describe_detector
from lat.stages.downstream.source_labels import (
    WITHOUT_LABELS,
    label_inputs,
    label_settings,
    write_downstream_labels,
    writes_labels,
)
from lat.stages.downstream.train import train_downstream
from lat.workspace.preflight import check_downstream
from lat.workspace.reading import check_reading
from lat.workspace.reviewed_labels import trained_labels
from lat.workspace.steps import Stage, Step, weights_file
from lat.workspace.workspace import Workspace


def steps(workspace: Workspace) -> Iterator[Step]:
    """For each target, a step that writes labels, if the method needs it, and one that trains."""
    for target in workspace.config.target_names:
        if writes_labels(workspace.config.downstream):
            yield _labels_step(workspace, target)
        yield _training_step(workspace, target)


def _labels_step(workspace: Workspace, target: str) -> Step:
    settings, member = workspace.config.to_dict(), workspace.config.downstream.name
    depends_on = [*label_settings(workspace), settings["seed"], workspace.config.runtime.recorded_precision]
    inputs, outputs = label_inputs(workspace, target), _labels_files(workspace, target)
    run = partial(write_downstream_labels, target=target)
    return Step("train-downstream", f"{target} labels", member, depends_on, workspace.names, inputs, outputs, run)


def _training_step(workspace: Workspace, target: str) -> Step:
    settings, downstream = workspace.config.to_dict(), workspace.config.downstream
    detector: dict[str, Any] = {}
    if downstream.model.detector == "yolo":
        weights = weights_file(downstream.yolo.model)
    else:
        detector = describe_detector(downstream.model, workspace.data.space(target))
        weights = weights_file(downstream.model.weights)
    left_out = {"in_run", "class_map", "yolo", *DOWNSTREAM_METHODS} - {downstream.method, downstream.model.detector}
    # settings of other methods and detectors are left out
    section = {key: value for key, value in settings["downstream"].items() if key not in left_out}
    depends_on = [section, workspace.config.training.recorded(), settings["augmentation"], detector]
    depends_on += [settings["seed"], workspace.config.runtime.recorded_precision]
    inputs = (*_labels_files(workspace, target), *weights)
    outputs = (workspace.paths.downstream_model(target), workspace.paths.downstream_metrics(target))
    run = partial(train_downstream, target=target)
    return Step("train-downstream", target, downstream.name, depends_on, workspace.names, inputs, outputs, run)


def _labels_files(workspace: Workspace, target: str) -> tuple[Path, ...]:
    """The labels files of the sources, if the method has any."""
    downstream = workspace.config.downstream
    if not downstream.uses_sources or downstream.method in WITHOUT_LABELS:
        return ()
    others = workspace.others(target)
    if downstream.method == "label_transfer":
        return tuple(trained_labels(workspace, source, target) for source in others)
    return tuple(workspace.paths.downstream_labels(source, target) for source in others)


def _check(workspace: Workspace) -> None:
    if workspace.config.downstream.model.detector == "yolo" and workspace.processes.size > 1:
        remedy = "set downstream.in_run=false, and start `lat train-downstream` without torchrun or srun"
        raise InputError("downstream.model.detector", "is yolo, which trains in one process", remedy)
    check_downstream(workspace.config, workspace.processes.size)
    check_reading(workspace)


STAGE = Stage("train-downstream", steps, is_in_run=lambda config: config.downstream.in_run, check=_check)
