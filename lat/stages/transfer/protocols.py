"""What the labels of a whole dataset tell about two protocols, before any single box is transferred."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lat.data.dataset import DetectionDataset
from lat.labelling.class_prior import count_relations
from lat.labelling.conventions import BoxConventions, BoxPairs, estimate_conventions
from lat.labels.table import LabelTable
from lat.workspace.label_files import read_held_out_labels, read_pseudo_labels
from lat.workspace.workspace import Workspace

AT_ONCE = 4096  # images of which all pairs of boxes are in memory together


def compare_conventions(workspace: Workspace, source: str, target: str) -> BoxConventions:
    """How boxes of `source` become boxes of `target`, as the target's detector shows."""
    return estimate_conventions(
        BoxPairs.joined(BoxPairs.of_tables(own, sure) for sure, own in _sure_and_own(workspace, source, target)),
        BoxPairs.joined(BoxPairs.of_tables(sure, own) for sure, own in _held_out(workspace, target)),
        len(workspace.data.space(source)),
        len(workspace.data.space(target)),
    )


def count_all_relations(workspace: Workspace, source: str, target: str) -> Tensor:
    """(K_s, K_t + 1) `count_relations` over the training images of `target`."""
    counts = torch.zeros(len(workspace.data.space(source)), len(workspace.data.space(target)) + 1)
    for sure, own in _sure_and_own(workspace, target, source):
        counts += count_relations(sure, own)
    return counts


def count_cooccurrence(workspace: Workspace, source: str, target: str) -> Tensor:
    """(K_s, K_t + 1) `count_relations` over the training images of `source`: which sure pseudo-labels lie on its own boxes."""
    counts = torch.zeros(len(workspace.data.space(source)), len(workspace.data.space(target)) + 1)
    for sure, own in _sure_and_own(workspace, source, target):
        counts += count_relations(own, sure)
    return counts


def _sure_and_own(workspace: Workspace, dataset: str, space: str) -> Iterator[tuple[LabelTable, LabelTable]]:
    """Sure pseudo-labels in `space` and ground truth of the training images of a dataset, some images after another."""
    return _paired(workspace, workspace.data.train_part(dataset), read_pseudo_labels(workspace, dataset, space))


def _held_out(workspace: Workspace, target: str) -> Iterator[tuple[LabelTable, LabelTable]]:
    """Sure detections of the target's own detector and ground truth of its held-out images."""
    return _paired(workspace, workspace.data.held_out_part(target), read_held_out_labels(workspace, target, target))


def _paired(workspace: Workspace, part: DetectionDataset, labels: LabelTable) -> Iterator[tuple[LabelTable, LabelTable]]:
    sure, own = labels.at_least(workspace.config.transfer.sure_score), part.labels.where(~part.labels.is_crowd)
    for start in range(0, len(part), AT_ONCE):
        images = np.arange(start, min(start + AT_ONCE, len(part)))
        yield sure.select(images), own.select(images)
