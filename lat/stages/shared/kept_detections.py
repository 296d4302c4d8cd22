"""Which detections become pseudo-labels: those of many images at once, as `keep_pseudo_labels` keeps those of each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from lat.core.boxes import iou_of_pairs, rows_of_one_group
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes

NMS_IOU = 0.5  # at which the lower of two boxes of one class is suppressed
IMAGES_AT_ONCE = 64
MOST_AT_ONCE = 200  # boxes of one image: those of a fuller one are not compared with each other along with others'
_ROUNDING = 1e-4  # by so much two ways to compute an IoU differ at most
_FAR = 2.0**21  # pixels that `batched_nms` moves classes apart by at most, for them not to touch by rounding


def keep_pseudo_labels(boxes: LabeledBoxes, threshold: float, most: int) -> LabeledBoxes:
    """Detections with positive area and a score at or above the threshold, after class-wise NMS, the best ones, best first."""
    boxes = boxes[_are_sound(boxes, threshold)]
    return boxes[_best(boxes, most)]


def keep_of_images(
    found: Sequence[LabeledBoxes], space: LabelSpace, threshold: float, most: int
) -> tuple[LabeledBoxes, list[int]]:
    """What `keep_pseudo_labels` keeps of the detections of each image, image after image, and how many that is of each.

    Suppression is left out where no two boxes of a class overlap enough, which is nearly everywhere after a detector's own.
    """
    parts, counts = [LabeledBoxes.empty(space)], []
    for start in range(0, len(found), IMAGES_AT_ONCE):
        some = found[start : start + IMAGES_AT_ONCE]
        image = torch.repeat_interleave(torch.arange(len(some)), torch.tensor([len(one) for one in some]))
        if not len(image):
            counts += [0] * len(some)
            continue
        boxes = LabeledBoxes.joined([one for one in some if len(one)])
        is_sound = _are_sound(boxes, threshold)
        boxes, image = boxes[is_sound], image[is_sound]
        rows = _rows_kept(boxes, image, len(some), most)
        parts.append(boxes[torch.cat(rows)])
        counts += map(len, rows)
    return LabeledBoxes.joined(parts[1:] or parts), counts


def _are_sound(boxes: LabeledBoxes, threshold: float) -> Tensor:
    has_area = (boxes.boxes_xyxy[:, 2:] > boxes.boxes_xyxy[:, :2]).all(dim=1)
    return has_area & (boxes.scores >= threshold)


def _best(boxes: LabeledBoxes, most: int) -> Tensor:
    kept: Tensor = batched_nms(boxes.boxes_xyxy, boxes.scores, boxes.labels, NMS_IOU)
    return kept[:most]


def _rows_kept(boxes: LabeledBoxes, image: Tensor, count: int, most: int) -> list[Tensor]:
    """The rows that are kept of each of `count` images, given the image of each box, ascending."""
    by_score = boxes.scores.argsort(descending=True, stable=True)
    by_image = by_score[image[by_score].argsort(stable=True)]
    ends = image.bincount(minlength=count).cumsum(0).tolist()
    contested = _contested(boxes, image, count)
    rows = []
    for i, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        rows.append(start + _best(boxes[slice(start, end)], most) if contested[i] else by_image[start : min(end, start + most)])
    return rows


def _contested(boxes: LabeledBoxes, image: Tensor, count: int) -> list[bool]:
    """Whether boxes of one class overlap, for each image; True too if that is not found out here."""
    extents = boxes.boxes_xyxy.new_zeros(count)
    extents.scatter_reduce_(0, image, boxes.boxes_xyxy.amax(dim=1), "amax", include_self=False)
    is_full = (image.bincount(minlength=count) > MOST_AT_ONCE) | (len(boxes.space) * (extents + 1) > _FAR)
    rows = (~is_full[image]).nonzero().flatten()
    first, second = rows_of_one_group(*2 * [(image * len(boxes.space) + boxes.labels)[rows]])
    first, second = (rows[place[first < second]] for place in (first, second))
    moved = boxes.boxes_xyxy + (boxes.labels.float() * (extents + 1)[image])[:, None]  # as `batched_nms` does, to the last bit
    is_near = iou_of_pairs(moved, first, second) > NMS_IOU - _ROUNDING
    is_full[image[first[is_near]]] = True
    result: list[bool] = is_full.tolist()
    return result
