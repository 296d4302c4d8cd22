"""Non-maximum suppression in groups of one size, such as those of an image and a pyramid level: nothing waits for the device.

Shape letters: G groups, n candidates of a group.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lat.core.suppression import PASSES

PAIRS_AT_ONCE = 16_000_000  # about a quarter of a GiB


def kept_of_groups(
    boxes_xyxy: Tensor, ranks: Tensor, alive: Tensor, most_iou: float, labels: Tensor | None = None, passes: int = PASSES
) -> tuple[Tensor, Tensor]:
    """Which candidates none suppresses: the better of two that overlap more than `most_iou` does, unless suppressed itself.

    Args:
        boxes_xyxy: (G, n, 4) float32.
        ranks: (G, n) int64, lower for better candidates.
        alive: (G, n) bool, the candidates that take part.
        most_iou: overlap up to which two may stay.
        labels: (G, n) int64; only candidates of one label suppress each other. None if all may.
        passes: how often suppression is applied; a CPU ends as soon as nothing changes.

    Returns:
        (G, n) bool, and () bool: whether a further pass would change nothing, so that the first is right.
    """
    at_once = max(1, PAIRS_AT_ONCE // max(1, ranks.shape[1] ** 2))
    columns = [boxes_xyxy, ranks, alive] + ([] if labels is None else [labels])
    parts = [_kept(most_iou, passes, *part) for part in zip(*(one.split(at_once) for one in columns), strict=True)]
    return torch.cat([kept for kept, _ in parts]), torch.stack([is_settled for _, is_settled in parts]).all()


def _kept(
    most_iou: float, passes: int, boxes_xyxy: Tensor, ranks: Tensor, alive: Tensor, labels: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    suppresses = (iou_in_groups(boxes_xyxy) > most_iou) & (ranks[:, :, None] < ranks[:, None, :])
    if labels is not None:
        suppresses &= labels[:, :, None] == labels[:, None, :]
    by_better, kept = suppresses.float(), alive
    is_settled = torch.zeros((), dtype=torch.bool, device=alive.device)
    for _ in range(passes):
        now = alive & (torch.bmm(kept[:, None].float(), by_better)[:, 0] == 0)
        is_settled = (now == kept).all()
        kept = now
        if now.device.type == "cpu" and is_settled:
            break
    return kept, is_settled


def iou_in_groups(boxes_xyxy: Tensor) -> Tensor:
    """IoU (G, n, n) of all pairs of boxes (G, n, 4) of one group; as torchvision's NMS has it, NaN if neither has an area."""
    x1, y1, x2, y2 = boxes_xyxy.unbind(2)
    width = (torch.minimum(x2[:, :, None], x2[:, None]) - torch.maximum(x1[:, :, None], x1[:, None])).clamp_(min=0)
    height = (torch.minimum(y2[:, :, None], y2[:, None]) - torch.maximum(y1[:, :, None], y1[:, None])).clamp_(min=0)
    shared, area = width.mul_(height), (x2 - x1) * (y2 - y1)
    return shared / (area[:, :, None] + area[:, None] - shared)
