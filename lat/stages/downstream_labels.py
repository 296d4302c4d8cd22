"""The labels that sources have in a target's space by ways other than label transfer: `downstream/T/labels/S.json`."""

from __future__ import annotations

from pathlib import Path

from lat.data.coco import write_labels
from lat.evaluation.transfer_quality import labels_by_class_names, union_labels
from lat.stages.workspace import Workspace
from lat.structures import LabeledBoxes

HAND_PICKED = ("class_thresholds",)  # methods that choose their own thresholds: all their labels are trained on


def label_inputs(workspace: Workspace, target: str) -> tuple[Path, ...]:
    """The files of earlier stages from which `write_downstream_labels` makes labels."""
    first, method = workspace.at(0), workspace.config.downstream.method
    pseudo = tuple(first.pseudo_labels(source, target) for source in workspace.others(target))
    match method:
        case "pseudo_label" | "union":
            return pseudo
        case "class_thresholds":
            return (*pseudo, first.held_out_labels(target, target))
    return ()


def write_downstream_labels(workspace: Workspace, target: str) -> None:
    """Write the labels of every source by `downstream.method`."""
    info = {"method": workspace.config.downstream.method, "config_sha256": workspace.config_sha256}
    for source in workspace.others(target):
        labels = _labels(workspace, source, target)
        images = workspace.train_part(source).labels
        write_labels(workspace.downstream_labels(source, target), images, workspace.space(target), labels, info=info)


def _labels(workspace: Workspace, source: str, target: str) -> list[LabeledBoxes]:
    """The labels of each training image of a source."""
    match workspace.config.downstream.method:
        case "class_names":
            return _by_names(workspace, source, target)
        case "pseudo_label":
            return _pseudo_labels(workspace, source, target)
        case "union":
            return union_labels(_by_names(workspace, source, target), _pseudo_labels(workspace, source, target))
        case method:
            raise AssertionError(f"no labels by {method}")


def _by_names(workspace: Workspace, source: str, target: str) -> list[LabeledBoxes]:
    return labels_by_class_names(workspace.train_part(source).labels, workspace.space(target))


def _pseudo_labels(workspace: Workspace, source: str, target: str) -> list[LabeledBoxes]:
    table = workspace.at(0).read_pseudo_labels(source, target)
    return [table.boxes(i) for i in range(len(table))]
