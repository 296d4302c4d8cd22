"""Losses of the sampled regions of a box head, whose boxes have weights and whose images may supervise some classes only.

Shape letters: R regions, K classes; index 0 is background.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lat.core.copies import to_device
from lat.core.losses import null_bce
from lat.core.selection import rows_where


def masked_logits(logits: Tensor, class_masks: list[Tensor], counts: list[int]) -> Tensor:
    """Logits (R, K + 1) with minus infinity for classes that the region's image does not have; background is unchanged.

    Args:
        logits: (R, K + 1), background first.
        class_masks: (K,) bool per image, True for the classes that it has.
        counts: number of regions per image, summing to R.
    """
    of_image = to_device(torch.stack(class_masks), logits.device)
    allowed = torch.cat([torch.ones_like(of_image[:, :1]), of_image], dim=1)
    of_region = torch.cat([row.expand(count, -1) for row, count in zip(allowed, counts, strict=True)])
    return logits.masked_fill(~of_region, float("-inf"))


def binary_class_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """`null_bce` of regions: logits (R, K + 1) with minus infinity for masked classes, labels (R,) in 0..K, weights (R,)."""
    of_classes = logits[:, 1:]
    allowed = of_classes.isfinite()
    return null_bce(of_classes.masked_fill(~allowed, 0.0), (labels - 1) % logits.shape[1], allowed, weights)


def weighted_box_losses(
    logits: Tensor, deltas: Tensor, labels: Tensor, wanted_deltas: Tensor, weights: Tensor, num_objects: int | None = None
) -> dict[str, Tensor]:
    """Weighted loss of sampled regions; with p_r the softmax of the logits of region r, y_r its class and w_r its weight:

        loss_classifier = -sum_r w_r log p_r[y_r] / sum_r w_r
        loss_box_reg    = sum over r with y_r > 0 of smooth-L1(deltas_r[y_r] - wanted_r) / R

    With all weights 1 this is torchvision's `fastrcnn_loss`. Without any region both are zero, with a gradient.

    Args:
        logits: (R, K + 1) float32.
        deltas: (R, 4K + 4) float32, four for each class and for background.
        labels: (R,) int64 in 0..K.
        wanted_deltas: (R, 4) float32; rows of background regions are ignored.
        weights: (R,) float32.
        num_objects: how many labels are above 0, if it is known; else a device is asked.
    """
    if len(labels) == 0:
        return {"loss_classifier": logits.sum() * 0.0, "loss_box_reg": deltas.sum() * 0.0}
    entropy = F.cross_entropy(logits, labels, reduction="none")
    matched = torch.where(labels > 0)[0] if num_objects is None else rows_where(labels > 0, num_objects)
    of_class = deltas.reshape(len(labels), -1, 4)[matched, labels[matched]]
    distance = F.smooth_l1_loss(of_class, wanted_deltas[matched], beta=1 / 9, reduction="sum")
    return {
        "loss_classifier": (weights * entropy).sum() / weights.sum().clamp(min=1e-6),
        "loss_box_reg": distance / len(labels),
    }
