"""Losses as pure functions of tensors. Shape letters: M regions, K classes of the joint label space, background last."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_cross_entropy(logits: Tensor, labels: Tensor, allowed: Tensor, weights: Tensor) -> Tensor:
    """Softmax cross-entropy over the allowed classes of each region, averaged with weights.

    Args:
        logits: (M, K + 1) float; computed in float32 whatever its dtype.
        labels: (M,) int64 in 0..K, each an allowed class of its row.
        allowed: (M, K + 1) bool; classes of a row that take part in its softmax.
        weights: (M,) float >= 0; rows of weight 0 count neither in the sum nor in the average.

    Returns:
        Scalar sum(w_m * -log p_m[label_m]) / max(sum(w_m), 1); a zero with a gradient where no row counts.

    Source: Label-Aligned Transfer, section 3.3 (logits masked before the loss).
    """
    masked = logits.float().masked_fill(~allowed, float("-inf"))
    losses = F.cross_entropy(masked, labels, reduction="none")
    return (losses * weights).sum() / weights.sum().clamp(min=1.0)


def matched_box_loss(deltas: Tensor, targets: Tensor, weights: Tensor, beta: float = 1.0) -> Tensor:
    """Smooth-L1 between predicted and wanted box deltas, averaged over matched regions with weights.

    Args:
        deltas: (P, 4) float, deltas of the matched class of each matched region.
        targets: (P, 4) float, deltas that lead from the region to its ground-truth box.
        weights: (P,) float >= 0.
        beta: where the loss turns from quadratic to linear.

    Returns:
        Scalar sum(w_p * sum_4 smooth_l1) / max(sum(w_p), 1); a zero with a gradient where nothing is matched.
    """
    losses = F.smooth_l1_loss(deltas.float(), targets.float(), beta=beta, reduction="none").sum(dim=1)
    return (losses * weights).sum() / weights.sum().clamp(min=1.0)


def masked_softmax(logits: Tensor, allowed: Tensor) -> Tensor:
    """Softmax over the last axis in float32, over allowed entries only; a row with none allowed becomes all zeros.

    Args:
        logits: (..., L) float.
        allowed: bool, broadcastable to (..., L).
    """
    masked = logits.float().masked_fill(~allowed, float("-inf"))
    nothing_allowed = ~allowed.any(dim=-1, keepdim=True)
    return torch.softmax(masked.masked_fill(nothing_allowed, 0.0), dim=-1).masked_fill(nothing_allowed, 0.0)
