"""Calibration: a raw score becomes the share of labels of that score that are right.

A calibration is fitted on pairs of a raw score and whether that label was a hit. It works on logits: the calibrated logit is a
strictly rising, piecewise linear function of the raw logit, so the order of labels, and with it their AP, stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lat.labelling.labelling_settings import CALIBRATIONS

_HALF_STEP = 2.0**-25  # half a float32 step below 1: a raw score of 1 stays above all others
_SURE_LOGIT = 6.0  # surer than a few hundred pairs can show
_LEAST_SLOPE = 0.05  # minimum slope, if a fit would reverse or nearly reverse the order
_PRIOR_PAIRS = 10  # weight of Platt's line in a run of pairs
_MOST_ITERATIONS = 100


@dataclass(frozen=True)
class Calibration:
    """A map from raw to calibrated scores.

    Attributes:
        method: how it was fitted; with `none` scores are unchanged.
        raw_logits: at least two logits of raw scores, strictly increasing.
        logits: the calibrated logit at each of them, strictly increasing; interpolated linearly, and extrapolated with the
            slope of the outermost segments.
        pairs: number of pairs that it was fitted on.

    Raises:
        ValueError: if the logits are not such columns.
    """

    method: str = "none"
    raw_logits: tuple[float, ...] = (-1.0, 1.0)
    logits: tuple[float, ...] = (-1.0, 1.0)
    pairs: int = 0

    def __post_init__(self) -> None:
        columns = np.array([self.raw_logits, self.logits], dtype=np.float64)
        is_sound = columns.shape[1] >= 2 and np.isfinite(columns).all() and (np.diff(columns) > 0).all()
        if self.method not in CALIBRATIONS or not is_sound:
            raise ValueError("a calibration needs a known method and two or more finite, strictly increasing logits")

    def __call__(self, scores: Tensor) -> Tensor:
        """Calibrated scores (N,) float32 in (0, 1) of raw scores (N,) float32 in [0, 1], on their device.

        Calibration preserves the order of scores as far as float32 can distinguish them; to keep them distinct near 0 and 1, the
        excess of a calibrated logit beyond 6 (a score of 0.9975) is compressed to log(1 + excess).
        """
        if self.method == "none":
            return scores
        knots = torch.tensor([self.raw_logits, self.logits], dtype=torch.float64, device=scores.device)
        raw, calibrated = knots[0], knots[1]
        x = scores.double().clamp(_HALF_STEP, 1 - _HALF_STEP).logit()
        right = torch.searchsorted(raw, x).clamp(1, len(raw) - 1)
        slope = (calibrated[right] - calibrated[right - 1]) / (raw[right] - raw[right - 1])
        y = calibrated[right - 1] + slope * (x - raw[right - 1])
        beyond = (y.abs() - _SURE_LOGIT).clamp(min=0)
        return (y - y.sign() * (beyond - beyond.log1p())).sigmoid().float()

    def to_dict(self) -> dict[str, Any]:
        """The calibration as JSON types."""
        return {
            "method": self.method,
            "raw_logits": list(self.raw_logits),
            "logits": list(self.logits),
            "pairs": self.pairs,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Calibration:
        """The calibration that `to_dict` described."""
        return cls(content["method"], tuple(content["raw_logits"]), tuple(content["logits"]), content["pairs"])


def fit_calibration(scores: Tensor, hits: Tensor, method: str) -> Calibration:
    """Fit a calibration on N pairs; N may be 0, and all or none of the labels may be hits.

    `platt` is the most probable line `slope * logit + bias` under independent normal priors of deviation 1 around slope 1 and
    bias 0: without pairs scores are unchanged; with few, or only hits, they move part of the way and never reach 0 or 1. The
    prior weighs about as much as four pairs of score 0.5. The slope is at least 0.05.

    `isotonic` pools adjacent violators: runs of pairs whose share of hits would decrease are joined. Each run then gets ten extra
    pairs, with the share of hits that Platt's line predicts for it, and decreasing runs are joined again. The curve connects the
    centres of the runs (mean logit), so that raw scores stay distinct, and continues beyond them with the slope of Platt's line.

    Args:
        scores: (N,) float raw scores in [0, 1].
        hits: (N,) bool or 0/1, true if the label was right.
        method: platt, isotonic or none.

    Source: Platt, Probabilistic Outputs for Support Vector Machines (1999), with a prior instead of its softened targets;
    Zadrozny and Elkan, Transforming Classifier Scores into Accurate Multiclass Probability Estimates (2002).
    """
    assert scores.shape == hits.shape == (len(scores),), "one hit per score"
    if method == "none":
        return Calibration()
    x = scores.detach().cpu().double().clamp(_HALF_STEP, 1 - _HALF_STEP).logit().numpy()
    y = hits.cpu().double().numpy()
    slope, bias = _fit_line(x, y)
    raw, calibrated = np.array([-1.0, 1.0]), np.array([bias - slope, bias + slope])
    if method == "isotonic" and len(x):
        raw, calibrated = _fit_runs(x, y, slope, bias)
        raw = np.concatenate([raw[:1] - 1, raw, raw[-1:] + 1])
        calibrated = np.concatenate([calibrated[:1] - slope, calibrated, calibrated[-1:] + slope])
    return Calibration(method, tuple(raw.tolist()), tuple(calibrated.tolist()), len(x))


def _fit_line(x: np.ndarray, hits: np.ndarray) -> tuple[float, float]:
    """Slope and bias of Platt's line for logits (N,) and hits (N,) float64 0 or 1."""
    ones = np.ones_like(x)
    slope, bias = _fit_logistic(np.stack([x, ones], axis=1), np.zeros_like(x), hits, np.array([1.0, 0.0]))
    if slope >= _LEAST_SLOPE:
        return float(slope), float(bias)
    (bias,) = _fit_logistic(
        ones[:, None], _LEAST_SLOPE * x, hits, np.zeros(1)
    )  # the best allowed slope, because the loss is convex
    return _LEAST_SLOPE, float(bias)


def _fit_logistic(design: np.ndarray, offset: np.ndarray, hits: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Parameters (P,) that minimise -sum log p(hit) + |parameters - prior|^2 / 2, where logit p = design (N, P) @ them + offset.

    Newton's method; each step is halved until the loss falls.
    """

    def loss(at: np.ndarray) -> float:
        z = design @ at + offset
        return float((np.logaddexp(0, z) - hits * z).sum() + ((at - prior) ** 2).sum() / 2)

    parameters = prior.copy()
    for _ in range(_MOST_ITERATIONS):
        p = _sigmoid(design @ parameters + offset)
        gradient = design.T @ (p - hits) + parameters - prior
        curvature = (design * (p * (1 - p))[:, None]).T @ design + np.eye(len(prior))
        step = np.linalg.solve(curvature, gradient)
        while loss(parameters - step) > loss(parameters) and np.abs(step).max() > 1e-12:
            step = step / 2
        parameters = parameters - step
        if np.abs(step).max() < 1e-9:
            break
    return parameters


def _fit_runs(x: np.ndarray, hits: np.ndarray, slope: float, bias: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean raw logit and calibrated logit (R,) of each run of pairs, both strictly increasing."""
    levels, place = np.unique(x, return_inverse=True)  # equal scores are one level
    counts = np.bincount(place).astype(np.float64)
    means: np.ndarray = np.bincount(place, hits) / counts
    run = pool_adjacent(means, counts)
    pairs = np.bincount(run, counts)
    expected = np.bincount(run, counts * _sigmoid(slope * levels + bias)) / pairs
    held = pairs + _PRIOR_PAIRS
    shares = (np.bincount(run, counts * means) + _PRIOR_PAIRS * expected) / held
    joined = pool_adjacent(shares, held)
    shares = np.bincount(joined, held * shares) / np.bincount(joined, held)
    centres = np.bincount(joined[run], counts * levels) / np.bincount(joined[run], counts)
    return centres, np.log(shares) - np.log1p(-shares)


def pool_adjacent(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Join neighbours until the weighted means of the runs are strictly increasing (pool-adjacent-violators).

    Args:
        values: (N,) float.
        weights: (N,) float > 0.

    Returns:
        (N,) int64 index of each value's run, from 0.
    """
    runs: list[tuple[float, float, int]] = []  # mean, weight, length
    for mean, weight in zip(values.tolist(), weights.tolist(), strict=True):
        length = 1
        while runs and runs[-1][0] >= mean:
            other_mean, other_weight, other_length = runs.pop()
            mean = (other_mean * other_weight + mean * weight) / (other_weight + weight)
            weight, length = other_weight + weight, other_length + length
        runs.append((mean, weight, length))
    return np.repeat(np.arange(len(runs)), [length for _, _, length in runs])


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.exp(-np.logaddexp(0, -logits))
    return result
