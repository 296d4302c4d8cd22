"""How boxes (x1, y1, x2, y2) lie on each other, for any number of leading dimensions, such as the images of a padded batch.

For boxes without a batch `torchvision.ops` has `box_iou`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _intersection(a: Tensor, b: Tensor) -> Tensor:
    corner = torch.maximum(a[..., :, None, :2], b[..., None, :, :2])
    sides = torch.minimum(a[..., :, None, 2:], b[..., None, :, 2:]) - corner
    return sides.clamp(min=0).prod(dim=-1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes a (..., M, 4) with b (..., G, 4): (..., M, G); 0 where both are without area."""
    shared = _intersection(a, b)
    union = _area(a)[..., :, None] + _area(b)[..., None, :] - shared
    return shared / union.clamp(min=1e-9)


def covered_share(a: Tensor, b: Tensor) -> Tensor:
    """Share of each box of a (..., M, 4) that lies in each box of b (..., G, 4): (..., M, G); 0 for a box without area."""
    return _intersection(a, b) / _area(a)[..., :, None].clamp(min=1e-9)


def move_sides(boxes_xyxy: Tensor, shares: Tensor) -> Tensor:
    """Boxes (..., 4) whose sides x1, y1, x2, y2 are moved by `shares` (..., 4) of their width or height."""
    lengths = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    return boxes_xyxy + shares * torch.cat([lengths, lengths], dim=-1)
