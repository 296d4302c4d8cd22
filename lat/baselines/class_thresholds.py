"""A score threshold for each class, chosen on held-out images with truth, for labels that a detector gives to other images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lat.core.structures import LabeledBoxes
from lat.evaluation.label_quality import scored_hits
from lat.evaluation.reliability import best_threshold
from lat.labels.table import LabelTable


def class_thresholds(
    detections: LabelTable | Sequence[LabeledBoxes],
    truth: LabelTable,
    beta: float = 1.0,
    iou: float = 0.5,
    default: float = 0.5,
) -> Tensor:
    """For each class the threshold at which its detections of that score or more have the highest F_beta.

    Detections are right or wrong as `scored_hits` has it, F_beta is that of `best_threshold`; both for the class alone.

    Args:
        detections: of the truth's images, as the first labels argument of `detection_ap`: unthresholded, or nearly so.
        truth: ground truth of held-out images, K classes.
        beta: above 0; how many times as much recall counts as precision.
        iou: IoU from which a detection is right.
        default: the threshold of classes without a truth box or without a right detection, for which no threshold is best.

    Returns:
        (K,) float32; each is one of the scores of its class or `default`. For `LabelTable.at_least` take `.numpy()`.

    Raises:
        InputError: if the categories differ, or an image is in one file only.
    """
    found = scored_hits(truth, detections, iou)
    wanted = np.bincount(truth.labels[~truth.is_crowd], minlength=len(truth.space))
    thresholds = torch.full((len(truth.space),), default)
    for k, count in enumerate(wanted.tolist()):
        of_class = found.labels == k
        hits = found.hits[of_class]
        if hits.any():
            best = best_threshold(found.scores[of_class], hits, count, beta)
            assert best is not None
            thresholds[k] = best
    return thresholds


def above_class_thresholds(boxes: LabeledBoxes, thresholds: Tensor) -> LabeledBoxes:
    """The boxes whose score is at least the threshold (K,) of their class."""
    return boxes[boxes.scores >= thresholds[boxes.labels]]
