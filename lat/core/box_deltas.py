"""Box deltas as Faster R-CNN has them: what moves a region to a box, as numbers that a network can predict.

With x, y the centre, w, h the sides of a box, and _r of the region from which it is drawn:

    deltas = 10 (x - x_r) / w_r,  10 (y - y_r) / h_r,  5 ln(w / w_r),  5 ln(h / h_r)

Source: Girshick et al., Rich feature hierarchies (2014), appendix C; the factors 10 and 5 are those of Faster R-CNN's code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_OF_CENTRE, _OF_SIDE = 10.0, 5.0
_LARGEST_LOG = math.log(1000.0 / 16)  # of a side over the region's: keeps exp from overflowing


def encode_boxes(boxes_xyxy: Tensor, regions_xyxy: Tensor) -> Tensor:
    """Deltas (R, 4) that lead from regions (R, 4) to boxes (R, 4), both with an area."""
    box_centres, box_sides = _centres_and_sides(boxes_xyxy)
    centres, sides = _centres_and_sides(regions_xyxy)
    return torch.cat([_OF_CENTRE * (box_centres - centres) / sides, _OF_SIDE * torch.log(box_sides / sides)], dim=1)


def decode_boxes(deltas: Tensor, regions_xyxy: Tensor) -> Tensor:
    """Boxes (R, K, 4) that deltas (R, K, 4) draw from regions (R, 4); no side is more than 62.5 times the region's."""
    centres, sides = (part[:, None] for part in _centres_and_sides(regions_xyxy.to(deltas.dtype)))
    box_centres = deltas[..., :2] / _OF_CENTRE * sides + centres
    half_sides = 0.5 * (torch.exp((deltas[..., 2:] / _OF_SIDE).clamp(max=_LARGEST_LOG)) * sides)
    return torch.cat([box_centres - half_sides, box_centres + half_sides], dim=-1)


def _centres_and_sides(boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (..., 2) and width and height (..., 2) of boxes (..., 4)."""
    sides = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    return boxes_xyxy[..., :2] + 0.5 * sides, sides
