"""Resize a source's boxes so that their size statistics match the target's, class by class.

Shape letters: N boxes of one image, A boxes of all images, K classes of the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from lat.core.structures import LabeledBoxes
from lat.labels.table import LabelTable

NO_SPREAD = 1e-6  # of logarithms; less is rounding error error


def normalise_box_statistics(
    boxes: Sequence[LabeledBoxes], sizes_hw: np.ndarray, target: LabelTable, min_boxes: int = 10
) -> list[LabeledBoxes]:
    """Rescale width and height of each box about its centre, so that the sizes of each class are distributed as in the target.

    The statistics are mean and (population) standard deviation of log(w / W) and log(h / H), where W and H are width and height
    of the image. With m_s, d_s those of a class's given boxes, and m_t, d_t those of its target boxes,

        log(w' / W) = m_t + d_t / d_s * (log(w / W) - m_s),    likewise h'

    and without a spread only the mean moves. Boxes are then clipped to their image, which makes the largest ones smaller than
    the formula.

    Args:
        boxes: the boxes of each image of the source, already in classes of the target.
        sizes_hw: (I, 2) int, height and width of these images in pixels.
        target: ground truth of the target; crowd boxes are ignored.
        min_boxes: a class with fewer boxes on either side is unchanged; statistics of few boxes are unreliable.

    Returns:
        The same boxes, in the same order, with all their other columns. Boxes of weight 0 (crowd, don't-care) and boxes
        without area do not count in the statistics and are unchanged.

    Source: Wang et al., Train in Germany, Test in the USA (2020), statistical normalisation, there of mean sizes only.
    """
    assert all(each.space.categories() == target.space.categories() for each in boxes), "boxes in the target's classes"
    if not boxes:
        return []
    images_hw = torch.from_numpy(np.asarray(sizes_hw, dtype=np.float64))
    corners = torch.cat([each.boxes_xyxy for each in boxes]).double()
    labels = torch.cat([each.labels for each in boxes])
    counted = torch.cat([each.weights for each in boxes]) > 0
    of_image_hw = images_hw.repeat_interleave(torch.tensor([len(each) for each in boxes]), dim=0)
    factors = _factors(corners, labels, counted, of_image_hw, target, min_boxes)
    resized = _rescaled(corners, factors).float().split([len(each) for each in boxes])
    moved = (factors != 1).any(dim=1).split([len(each) for each in boxes])
    return [
        replace(each, boxes_xyxy=torch.where(rows[:, None], clip_boxes_to_image(new, (height, width)), each.boxes_xyxy))
        for each, new, rows, (height, width) in zip(boxes, resized, moved, images_hw.tolist(), strict=True)
    ]


def _factors(corners: Tensor, labels: Tensor, counted: Tensor, images_hw: Tensor, target: LabelTable, min_boxes: int) -> Tensor:
    """(A, 2) factors of width and height of the given boxes; 1 for unchanged ones."""
    known = torch.from_numpy(~target.is_crowd)
    target_hw = np.repeat(target.sizes_hw, np.diff(target.offsets), axis=0).astype(np.float64)
    target_sizes = _log_sizes(torch.from_numpy(target.boxes_xyxy).double(), torch.from_numpy(target_hw))
    target_labels = torch.from_numpy(target.labels)
    sizes = _log_sizes(corners, images_hw)
    solid = sizes.isfinite().all(dim=1)
    factors = torch.ones_like(sizes)
    for k in range(len(target.space)):
        rows = (labels == k) & counted & solid
        wanted = target_sizes[(target_labels == k) & known]
        if min(int(rows.sum()), len(wanted)) < max(min_boxes, 1):
            continue
        spread = sizes[rows].std(dim=0, correction=0)
        ratio = torch.where(spread > NO_SPREAD, wanted.std(dim=0, correction=0) / spread, 1.0)
        mean = sizes[rows].mean(dim=0)
        factors[rows] = (wanted.mean(dim=0) - mean + (ratio - 1) * (sizes[rows] - mean)).exp()
    return factors


def _log_sizes(corners: Tensor, images_hw: Tensor) -> Tensor:
    """(A, 2) logarithm of width and height of boxes (A, 4), as shares of those of their images (A, 2); -inf without area."""
    return ((corners[:, 2:] - corners[:, :2]) / images_hw.flip(1)).log()


def _rescaled(corners: Tensor, factors: Tensor) -> Tensor:
    """Boxes (A, 4) with width and height multiplied by factors (A, 2), about their centres."""
    centre, half = (corners[:, :2] + corners[:, 2:]) / 2, (corners[:, 2:] - corners[:, :2]) / 2
    return torch.cat([centre - factors * half, centre + factors * half], dim=1)
