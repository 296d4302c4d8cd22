"""Prepare labels of another protocol for training: weighted by their scores, doubtful ones don't-care."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lat.core.origin import Origin
from lat.core.structures import LabeledBoxes
from lat.data.data_settings import WeighingSettings
from lat.data.dataset import DetectionDataset
from lat.labels.table import LabelTable

FEW = 0.05  # a protocol says nothing about a class if at most this share of its labels are human boxes of the protocol


def weigh_labels(boxes: LabeledBoxes, settings: WeighingSettings, silent: Tensor) -> LabeledBoxes:
    """Weigh labels: doubtful ones get weight 0 (don't-care), bad ones are dropped.

    Args:
        boxes: labels of one image with scores; those of weight 0 stay don't-care whatever their score.
        settings: the thresholds.
        silent: (K,) bool, the classes that the source's protocol is silent about; see `silent_classes`.
    """
    of_silent = min(settings.silent_threshold, settings.ignore_threshold)
    least = torch.where(silent, of_silent, settings.ignore_threshold)[boxes.labels]
    boxes = boxes[(boxes.scores >= least) | (boxes.weights == 0)]
    weights = boxes.scores if settings.weigh_by_score else torch.ones_like(boxes.scores)
    is_sure = (boxes.scores >= settings.trained_threshold) & (boxes.weights > 0)
    return replace(boxes, weights=torch.where(is_sure, weights, 0.0))


def silent_classes(labels: LabelTable, settings: WeighingSettings) -> Tensor:
    """The classes that a source's protocol is silent about, (K,) bool: almost none of the labels that count are human boxes.

    For such a class, a missing label does not prove that there is no object. Without provenance no class is silent.
    """
    silent = torch.zeros(len(labels.space), dtype=torch.bool)
    if labels.provenance is None:
        return silent
    counted = labels.scores >= settings.trained_threshold
    own = counted & (labels.provenance.origin == Origin.GROUND_TRUTH)
    counts, owns = (np.bincount(labels.labels[rows], minlength=len(labels.space)) for rows in (counted, own))
    return torch.from_numpy(owns <= FEW * counts)


@dataclass(frozen=True, eq=False)
class TransferredDataset(DetectionDataset):
    """Images of a source with labels in a target's space, as a detector of the target trains on them.

    Attributes:
        own: the source's own labels of the same images; its crowd boxes are don't-care here.
        settings: how labels are weighed.
        silent: (K,) bool, see `silent_classes`.
    """

    own: LabelTable
    settings: WeighingSettings
    silent: Tensor

    @classmethod
    def of(cls, source: DetectionDataset, labels: LabelTable, settings: WeighingSettings) -> TransferredDataset:
        """The images of `source` with `labels`, a table of the same images in the same order."""
        return cls(source.name, source.images_dir, labels, source.labels, settings, silent_classes(labels, settings))

    def boxes(self, i: int) -> LabeledBoxes:
        """The boxes of image `i` to train on, and the don't-care ones."""
        weighed = weigh_labels(super().boxes(i), self.settings, self.silent)
        crowd = torch.tensor(self.own.boxes_xyxy[self.own.rows(i)][self.own.is_crowd[self.own.rows(i)]])
        if not len(crowd):
            return weighed
        return LabeledBoxes(
            torch.cat([weighed.boxes_xyxy, crowd]),
            torch.cat([weighed.labels, torch.zeros(len(crowd), dtype=torch.int64)]),
            weighed.space,
            scores=torch.cat([weighed.scores, torch.ones(len(crowd))]),
            weights=torch.cat([weighed.weights, torch.zeros(len(crowd))]),
        )
