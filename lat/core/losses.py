"""Losses as pure functions of tensors, computed in float32.

Shape letters: M regions, K classes of the joint label space, background last, U universal classes, L labels of all spaces. Every
classification loss here is a weighted average over regions, sum(w_m * loss_m) / max(sum(w_m), 1): rows of weight 0 do not
count, and if none counts the loss is a zero with a gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_cross_entropy(logits: Tensor, labels: Tensor, allowed: Tensor, weights: Tensor) -> Tensor:
    """Softmax cross-entropy over the allowed classes of each region, as a weighted average.

    Args:
        logits: (M, K + 1) float; computed in float32 whatever its dtype.
        labels: (M,) int64 in 0..K, each an allowed class of its row.
        allowed: (M, K + 1) bool; classes of a row that take part in its softmax.
        weights: (M,) float >= 0; rows of weight 0 count neither in the sum nor in the average.

    Returns:
        Scalar sum(w_m * -log p_m[label_m]) / max(sum(w_m), 1); a zero with a gradient if no row counts.

    Source: Label-Aligned Transfer, section 3.3 (logits masked before the loss).
    """
    masked = logits.float().masked_fill(~allowed, float("-inf"))
    losses = F.cross_entropy(masked, labels, reduction="none")
    return _weighted_mean(losses, weights)


def selective_cross_entropy(logits: Tensor, labels: Tensor, spaces: Tensor, space_of_class: Tensor, weights: Tensor) -> Tensor:
    """Softmax cross-entropy over the classes of each region's own label space; no other logit gets a gradient.

    `masked_cross_entropy`, given label spaces instead of masks. With one background for all spaces it is the masked softmax of
    Label-Aligned Transfer, with a background class in each space the original.

    Args:
        logits: (M, C) float over all classes of all spaces.
        labels: (M,) int64 in 0..C - 1.
        spaces: (M,) int64, the label space of each region.
        space_of_class: (C,) int64, the label space of each class; -1 for a class that all spaces share.
        weights: (M,) float >= 0.

    Source: Fourure et al., Multi-task, multi-domain learning (2017), selective cross-entropy.
    """
    allowed = (space_of_class == spaces[:, None]) | (space_of_class == -1)
    return masked_cross_entropy(logits, labels, allowed, weights)


def null_bce(logits: Tensor, labels: Tensor, allowed: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy of a sigmoid per class, over the classes of each region's own label space; others are unknown.

    The loss of a region is -sum over its allowed classes k of [k = y] ln q_k + [k != y] ln(1 - q_k), with q the sigmoids and y
    its label. Background is not a class: no sigmoid is to fire. The gradient for a logit is q_k - [k = y], and 0 for a
    class that is not allowed.

    Args:
        logits: (M, K) float.
        labels: (M,) int64 in 0..K, K for background.
        allowed: (M, K) bool; the classes of the region's label space.
        weights: (M,) float >= 0.

    Source: Kim et al., UniSeg (2022), Null BCE; gradient: its appendix F.
    """
    return _binary_cross_entropy(logits, _one_hot(labels, logits.shape[1]), allowed, weights)


def class_relational_bce(logits: Tensor, labels: Tensor, allowed: Tensor, related: Tensor, weights: Tensor) -> Tensor:
    """`null_bce` with further positives: the classes of other label spaces that the region's class is a kind of.

    A car is also a vehicle, so the sigmoid of `vehicle` should fire; a vehicle need not be a car, so that of `car` is unknown.
    Classes neither in the region's own label space nor related are unknown.

    Args:
        logits: (M, K) float.
        labels: (M,) int64 in 0..K, K for background.
        allowed: (M, K) bool; the classes of the region's label space.
        related: (K, K) bool, not symmetric: [c, k] is True if regions of class c are also of class k.
        weights: (M,) float >= 0.

    Source: Kim et al., UniSeg (2022), class-relational BCE; that unknown classes stay masked is our reading.
    """
    background = torch.zeros_like(related[:1])
    also = torch.cat([related, background])[labels] & ~allowed
    targets = _one_hot(labels, logits.shape[1]) + also.float()
    return _binary_cross_entropy(logits, targets, allowed | also, weights)


def nll_plus(logits: Tensor, labels: Tensor, members: Tensor, weights: Tensor) -> Tensor:
    """Negative log-likelihood of a label that stands for a set of universal classes.

    The loss of a region is -ln of the sum of p_u over u in m(y) = logsumexp(z) - logsumexp(z over m(y)), with p the softmax of
    its logits z and m(y) the universal classes of its label. The gradient for a logit is p_u - [u in m(y)] p_u / sum of p over
    m(y).

    Args:
        logits: (M, U) float.
        labels: (M,) int64 in 0..L - 1.
        members: (L, U) bool, the universal classes of each label, at least one.
        weights: (M,) float >= 0.

    Source: Bevandić et al., Multi-domain semantic segmentation with overlapping labels (WACV 2022), NLL+.
    """
    logits = logits.float()
    losses = logits.logsumexp(dim=1) - _logsumexp_over(logits, members[labels])
    return _weighted_mean(losses, weights)


def remapped_cross_entropy(logits: Tensor, labels: Tensor, members: Tensor, allowed: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of a softmax over universal classes that is mapped to the labels of the region's own space.

    The probability of a label is the sum of p_u over its universal classes, as in `nll_plus`, here divided by that of all labels
    of the space: universal classes without a label in the space get no gradient. If its labels cover all of them, the two losses
    are equal.

    Args:
        logits: (M, U) float.
        labels: (M,) int64 in 0..L - 1, each an allowed label of its row.
        members: (L, U) bool, the universal classes of each label, at least one; disjoint within a space.
        allowed: (M, L) bool, the labels of the region's own space.
        weights: (M,) float >= 0.

    Source: the re-mapped softmax of label space unification; that it is normalised over the space is our reading.
    """
    logits = logits.float()
    known = (allowed.float() @ members.float()) > 0
    losses = _logsumexp_over(logits, known) - _logsumexp_over(logits, members[labels])
    return _weighted_mean(losses, weights)


def matched_box_loss(deltas: Tensor, targets: Tensor, weights: Tensor, beta: float = 1.0) -> Tensor:
    """Smooth-L1 between predicted and target box deltas, as a weighted average over matched regions.

    Args:
        deltas: (P, 4) float, deltas of the matched class of each matched region.
        targets: (P, 4) float, deltas from the region to its ground-truth box.
        weights: (P,) float >= 0.
        beta: where the loss turns from quadratic to linear.

    Returns:
        Scalar sum(w_p * sum_4 smooth_l1) / max(sum(w_p), 1); a zero with a gradient if nothing is matched.
    """
    losses = F.smooth_l1_loss(deltas.float(), targets.float(), beta=beta, reduction="none").sum(dim=1)
    return _weighted_mean(losses, weights)


def masked_softmax(logits: Tensor, allowed: Tensor) -> Tensor:
    """Softmax over the last axis in float32, over allowed entries only; a row with none allowed becomes all zeros.

    Args:
        logits: (..., L) float.
        allowed: bool, broadcastable to (..., L).
    """
    masked = logits.float().masked_fill(~allowed, float("-inf"))
    nothing_allowed = ~allowed.any(dim=-1, keepdim=True)
    return torch.softmax(masked.masked_fill(nothing_allowed, 0.0), dim=-1).masked_fill(nothing_allowed, 0.0)


def _one_hot(labels: Tensor, count: int) -> Tensor:
    """(M, count) float32; labels of `count` or more give a zero row."""
    return (labels[:, None] == torch.arange(count, device=labels.device)).float()


def _binary_cross_entropy(logits: Tensor, targets: Tensor, counted: Tensor, weights: Tensor) -> Tensor:
    losses = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return _weighted_mean(losses.masked_fill(~counted, 0.0).sum(dim=1), weights)


def _logsumexp_over(logits: Tensor, chosen: Tensor) -> Tensor:
    return logits.masked_fill(~chosen, float("-inf")).logsumexp(dim=1)


def _weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    return (losses * weights).sum() / weights.sum().clamp(min=1.0)
