"""Temperature scaling: how overconfident the class scores of a detector are, as one number fitted on held-out images.

A detector with softmax gives each box scores p_1..p_K of the classes; what is left to 1 is background. Scaled by T they become
p_k^(1/T) divided by the sum over all classes and background: T above 1 makes an overconfident detector less sure. The order of
labels changes: of two boxes with one score, the one whose rest is spread over many classes loses more than the one with a single
rival. So other boxes pass a threshold, and other numbers of each class: with T above 1 fewer of the classes that are seldom sure.
A filter that takes a share or a number of each class feels only changes of the order within the class; labels of score 1 stay
tied, whatever T.

Where each class has its own score (sigmoid), or scores are no longer those of the classes (calibrated ones), a label has two
classes: its own, p, and the rest, 1 - p. Its logit is divided by T, which keeps the order of all labels.

Shape letters: N boxes, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST = 1e-7  # below the precision of labels files
_MOST_SUM = 1.01  # class scores of a softmax add up to at most 1, except for rounding
_SLOWEST, _FASTEST = 1 / 64, 64.0  # bounds of 1 / T
_HALVINGS = 50


@dataclass(frozen=True)
class Temperature:
    """A temperature, and which kind of class scores it was fitted to.

    Attributes:
        value: T above 0; 1 leaves scores unchanged.
        is_softmax: True if class scores and background add up to 1; False if only a label's own score counts.
    """

    value: float = 1.0
    is_softmax: bool = False

    def __call__(self, scores: Tensor, labels: Tensor, class_scores: Tensor | None) -> Tensor:
        """Scaled scores (N,) float32 of labels.

        Args:
            scores: (N,) float32 in [0, 1].
            labels: (N,) int64.
            class_scores: (N, K) float32 in [0, 1], or None; needed where `is_softmax`.
        """
        columns = class_scores if self.is_softmax else scores[:, None]
        assert columns is not None, "a softmax has class scores"
        own = labels if self.is_softmax else torch.zeros_like(labels)
        return (_log_shares(columns) / self.value).softmax(dim=1).gather(1, own[:, None])[:, 0].float()


def fit_temperature(scores: Tensor, labels: Tensor, class_scores: Tensor | None, truth: Tensor) -> Temperature:
    """The most probable temperature given the boxes, between 1/64 and 64; 1 without boxes.

    The prior of 1 / T is normal with mean and deviation 1, like the slope in `fit_calibration`: few boxes, or only right ones,
    move it part of the way. The log-likelihood is concave in 1 / T, and so is the log-posterior: bisection finds the zero of its
    slope.

    Args:
        scores: (N,) float32 in [0, 1] of labels of held-out images.
        labels: (N,) int64.
        class_scores: (N, K) float32, or None. They count as softmax scores if no row adds up to more than 1.
        truth: (N,) int64 class of the ground truth in each place; K for background.

    Source: Guo et al., On Calibration of Modern Neural Networks (2017), with background as a class.
    """
    is_softmax = class_scores is not None and bool((class_scores.sum(dim=1) <= _MOST_SUM).all())
    if is_softmax:
        assert class_scores is not None
        logs, right = _log_shares(class_scores), truth
    else:
        logs, right = _log_shares(scores[:, None]), (truth != labels).long()
    achieved = logs.gather(1, right[:, None]).sum()
    low, high = _SLOWEST, _FASTEST
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        expected = ((middle * logs).softmax(dim=1) * logs).sum()
        low, high = (middle, high) if achieved - expected > middle - 1 else (low, middle)
    return Temperature(float(1 / (low * high) ** 0.5), is_softmax)


def _log_shares(class_scores: Tensor) -> Tensor:
    """(N, K + 1) float64 logarithms of class scores (N, K) and of the rest to 1, background."""
    shares = class_scores.double()
    rest = 1 - shares.sum(dim=1, keepdim=True)
    return torch.cat([shares, rest], dim=1).clamp(min=_LEAST).log()
