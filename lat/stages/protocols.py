"""What the labels of a whole dataset tell about two protocols, before any single box is transferred."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lat.data.dataset import DetectionDataset
from lat.data.label_table import LabelTable
from lat.pseudo.conventions import BoxConventions, BoxPairs, estimate_conventions
from lat.pseudo.priors import count_relations
from lat.stages.workspace import Workspace
from lat.structures import LabeledBoxes

LabeledImage = tuple[LabeledBoxes, LabeledBoxes, tuple[int, int]]


def compare_conventions(workspace: Workspace, source: str, target: str) -> BoxConventions:
    """How boxes of `source` become boxes of `target`, as the target's detector shows."""
    on_source = [(own, sure, size) for sure, own, size in _sure_and_own(workspace, source, target)]
    return estimate_conventions(
        BoxPairs.of_images(BoxPairs.of_image(*image) for image in on_source),
        BoxPairs.of_images(BoxPairs.of_image(*image) for image in _held_out(workspace, target)),
        len(workspace.space(source)),
        len(workspace.space(target)),
    )


def count_all_relations(workspace: Workspace, source: str, target: str) -> Tensor:
    """(K_s, K_t + 1) `count_relations` over the training images of `target`."""
    counts = torch.zeros(len(workspace.space(source)), len(workspace.space(target)) + 1)
    for sure, own, _ in _sure_and_own(workspace, target, source):
        counts += count_relations(sure, own)
    return counts


def count_cooccurrence(workspace: Workspace, source: str, target: str) -> Tensor:
    """(K_s, K_t + 1) `count_relations` over the training images of `source`: which sure pseudo-labels lie on its own boxes."""
    counts = torch.zeros(len(workspace.space(source)), len(workspace.space(target)) + 1)
    for sure, own, _ in _sure_and_own(workspace, source, target):
        counts += count_relations(own, sure)
    return counts


def _sure_and_own(workspace: Workspace, dataset: str, space: str) -> Iterator[LabeledImage]:
    """Sure pseudo-labels in `space`, ground truth and size of each training image of a dataset."""
    return _paired(workspace, workspace.train_part(dataset), workspace.read_pseudo_labels(dataset, space))


def _held_out(workspace: Workspace, target: str) -> Iterator[LabeledImage]:
    """Sure detections of the target's own detector, ground truth and size of its held-out images."""
    return _paired(workspace, workspace.held_out_part(target), workspace.read_held_out_labels(target, target))


def _paired(workspace: Workspace, part: DetectionDataset, labels: LabelTable) -> Iterator[LabeledImage]:
    sure = labels.at_least(workspace.config.transfer.sure_score)
    for i in range(len(part)):
        own = part.boxes(i)
        yield sure.boxes(i), own[own.weights > 0], part.size_hw(i)
