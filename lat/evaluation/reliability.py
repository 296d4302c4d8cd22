"""Whether scores mean what they say, and the threshold at which labels serve best. N labels; scores in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ReliabilityBin:
    """Labels of neighbouring scores: their mean score, the share of them that is right, and how many they are."""

    score: float
    precision: float
    count: int


def reliability_bins(scores: np.ndarray, hits: np.ndarray, most: int = 10) -> tuple[ReliabilityBin, ...]:
    """Bins of about N / `most` labels each, by rising score; labels of equal score share a bin.

    Args:
        scores: (N,) float.
        hits: (N,) bool, whether the label is right.
        most: number of bins where scores are not equal and N is large enough.
    """
    if not len(scores):
        return ()
    ordered = np.sort(scores)
    starts = np.unique(ordered[np.arange(most) * len(scores) // most])
    place = np.searchsorted(starts, scores, side="right") - 1
    counts = np.bincount(place)
    means = np.bincount(place, scores.astype(np.float64)) / counts
    shares = np.bincount(place, hits) / counts
    return tuple(map(ReliabilityBin, means.tolist(), shares.tolist(), counts.tolist()))


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float | None:
    """sum over bins of count / N * |precision - mean score|, 0 to 1; None without labels.

    Source: Nixon et al., Measuring Calibration in Deep Learning (2019): bins of equal mass, for with equal widths nearly all
    labels fall into one.
    """
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.precision - one.score) for one in bins) / total if total else None


def best_threshold(scores: np.ndarray, worth: np.ndarray, truth: float, beta: float = 1.0) -> float | None:
    """The threshold at which the labels of that score or more have the highest F_beta, by default F1.

    F_beta = (1 + beta^2) * TP / (kept + beta^2 * truth), where TP is the sum of `worth` over the kept labels; recall counts
    beta times as much as precision. There are two uses, told for F1 = 2 * TP / (kept + truth):

    - With truth: `worth` is whether each label is right, and `truth` the number of boxes to be found.
    - Without: if scores are calibrated, a label is right with probability p_i = score, so TP is expected to be the sum of p_i
      over the kept labels. Every box to be found that some label finds counts once among all labels, so the sum of p_i over
      all labels estimates `truth`. Expected F1 of the k surest is then 2 * (p_1 + .. + p_k) / (k + p_1 + .. + p_N). One more
      label raises it exactly if 2 p > F1: the best threshold is half of the best F1. Boxes that no label finds are not in
      the estimate, which is then too small, and the threshold too high.

    Args:
        scores: (N,) float.
        worth: (N,) how much each label counts as right, 0 to 1.
        truth: number of boxes to be found.
        beta: above 0.

    Returns:
        One of the scores, the highest where several are best; None without labels.

    Source: Lipton, Elkan and Naryanaswamy, Optimal Thresholding of Classifiers to Maximize F1 Measure (2014).
    """
    if not len(scores):
        return None
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.append(ordered[1:] < ordered[:-1], True)  # a threshold keeps all labels of equal score
    right = np.cumsum(worth[order].astype(np.float64))
    f_beta = (1 + beta**2) * right / (np.arange(1, len(scores) + 1) + beta**2 * truth)
    return float(ordered[np.argmax(np.where(ends, f_beta, -1.0))])
