"""A score threshold per class, chosen on held-out images with truth, for a detector's labels on other images."""

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
    """For each class, the threshold at which its detections with at least that score have the highest F_beta.

    Right and wrong detections are those of `scored_hits`, F_beta is that of `best_threshold`, both per class.

    Args:
        detections: on the truth's images, as the labels argument of `detection_ap`, with no or a very low threshold.
        truth: ground truth of held-out images, K classes.
        beta: above 0; how many times as much recall counts as precision.
        iou: IoU from which a detection is right.
        default: the threshold of classes without a truth box or without a right detection, for which no threshold is best.

    Returns:
        (K,) float32; each is one of the scores of its class, or `default`. For `LabelTable.at_least` use `.numpy()`.

    Raises:
        InputError: if the categories differ, or an image is in only one file.
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
