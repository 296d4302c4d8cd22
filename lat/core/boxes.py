"""Overlaps of boxes (x1, y1, x2, y2), with any number of leading dimensions, or for given pairs.

For all pairs of two sets of boxes, `torchvision.ops` has `box_iou`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

DONT_CARE_SHARE = 0.5  # a region with this much of its area in a don't-care box is don't-care itself, unless it is an object


def _intersection(a: Tensor, b: Tensor) -> Tensor:
    corner = torch.maximum(a[..., :, None, :2], b[..., None, :, :2])
    sides = torch.minimum(a[..., :, None, 2:], b[..., None, :, 2:]) - corner
    return sides.clamp(min=0).prod(dim=-1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes a (..., M, 4) with b (..., G, 4): (..., M, G); 0 if neither has an area."""
    shared = _intersection(a, b)
    union = _area(a)[..., :, None] + _area(b)[..., None, :] - shared
    return shared / union.clamp(min=1e-9)


def aligned_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of each box of a (..., 4) with the corresponding box of b (..., 4): (...); 0 if neither has an area."""
    return _iou(a.unbind(-1), b.unbind(-1), _area(a) + _area(b))


def iou_of_pairs(boxes_xyxy: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """IoU (P,) of pairs of boxes (C, 4), rows `first` (P,) and `second` (P,) int64; as `aligned_iou` of them, but faster."""
    columns, area = boxes_xyxy.T.contiguous(), _area(boxes_xyxy)
    of_both = area.index_select(0, first) + area.index_select(0, second)
    return _iou(columns.index_select(1, first).unbind(0), columns.index_select(1, second).unbind(0), of_both)


def _iou(a: Sequence[Tensor], b: Sequence[Tensor], area_of_both: Tensor) -> Tensor:
    """IoU of boxes, x1, y1, x2 and y2 of each, and the sum of their areas, all of one shape."""
    width = (torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0])).clamp_(min=0)
    height = (torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1])).clamp_(min=0)
    shared = width.mul_(height)
    return shared / (area_of_both - shared).clamp_(min=1e-9)


def rows_of_one_group(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs of rows of a (M,) and b (G,), int64 each, with equal values, such as boxes of one image.

    Returns:
        Rows (P,) int64 of a, ascending, and rows (P,) int64 of b, ascending for each row of a.
    """
    order = b.argsort(stable=True)
    start = torch.searchsorted(b[order], a)
    count = torch.searchsorted(b[order], a, right=True) - start
    rows = torch.arange(len(a), device=a.device).repeat_interleave(count)
    within = torch.arange(len(rows), device=a.device) - (count.cumsum(0) - count)[rows]
    return rows, order[start[rows] + within]


def clip_to_images(boxes_xyxy: Tensor, sizes_hw: Tensor) -> Tensor:
    """Boxes (..., 4) each clipped to its image of height and width (..., 2)."""
    far = sizes_hw.flip(-1).to(boxes_xyxy.dtype)
    return torch.minimum(boxes_xyxy.clamp(min=0), torch.cat([far, far], dim=-1))


def covered_share(a: Tensor, b: Tensor) -> Tensor:
    """Share of each box of a (..., M, 4) that lies in each box of b (..., G, 4): (..., M, G); 0 for a box without area."""
    return _intersection(a, b) / _area(a)[..., :, None].clamp(min=1e-9)


def lie_in_dont_care(boxes_xyxy: Tensor, dont_care_xyxy: Tensor) -> Tensor:
    """(..., M) bool: boxes (..., M, 4) of which one of the boxes (..., G, 4) covers `DONT_CARE_SHARE` or more; G may be 0."""
    return (covered_share(boxes_xyxy, dont_care_xyxy) >= DONT_CARE_SHARE).any(dim=-1)


def move_sides(boxes_xyxy: Tensor, shares: Tensor) -> Tensor:
    """Boxes (..., 4) whose sides x1, y1, x2, y2 are moved by `shares` (..., 4) of their width or height."""
    lengths = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    return boxes_xyxy + shares * torch.cat([lengths, lengths], dim=-1)
