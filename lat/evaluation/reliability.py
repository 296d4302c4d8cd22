"""The calibration of scores, and the best score threshold for labels. N labels; scores in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ReliabilityBin:
    """Labels with similar scores: their mean score, the share that is right, and their number."""

    score: float
    precision: float
    count: int


def reliability_bins(scores: np.ndarray, hits: np.ndarray, most: int = 10) -> tuple[ReliabilityBin, ...]:
    """Bins of about N / `most` labels each, by ascending score; labels of equal score share a bin.

    Args:
        scores: (N,) float.
        hits: (N,) bool, True if the label is right.
        most: number of bins if scores differ and N is large enough.
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

    Source: Nixon et al., Measuring Calibration in Deep Learning (2019): bins of equal mass, because with equal widths nearly
    all labels fall into one bin.
    """
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.precision - one.score) for one in bins) / total if total else None


def best_threshold(scores: np.ndarray, worth: np.ndarray, truth: float, beta: float = 1.0) -> float | None:
    """The threshold at which the labels with at least that score have the highest F_beta, by default F1.

    F_beta = (1 + beta^2) * TP / (kept + beta^2 * truth), where TP is the sum of `worth` over the kept labels; recall counts
    beta times as much as precision. There are two uses, explained here for F1 = 2 * TP / (kept + truth):

    - With truth: `worth` is 1 for right labels and 0 for wrong ones, and `truth` is the number of boxes to find.
    - Without: if scores are calibrated, a label is right with probability p_i = score, so the expected TP is the sum of p_i
      over the kept labels. Every box that some label finds counts once among all labels, so the sum of p_i over all labels
      estimates `truth`. The expected F1 of the k surest is then 2 * (p_1 + .. + p_k) / (k + p_1 + .. + p_N). One more label
      raises it exactly if 2 p > F1: the best threshold is half of the best F1. Boxes that no label finds are missing from
      the estimate, which is then too small, and the threshold too high.

    Args:
        scores: (N,) float.
        worth: (N,) how much each label counts as right, 0 to 1.
        truth: number of boxes to find.
        beta: above 0.

    Returns:
        One of the scores, the highest if several are best; None without labels.

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
