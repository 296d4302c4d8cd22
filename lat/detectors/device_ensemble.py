"""What `lat.detectors.ensemble` does, and the choice among its detections, for all images of a batch where they were detected.

Shape letters: B images, M detections of all members on an image, V members, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lat.core.group_suppression import iou_in_groups, kept_of_groups
from lat.core.suppression import PASSES
from lat.detectors.detected import Detected
from lat.detectors.ensemble import SAME_OBJECT_IOU


def fuse_detected(members: Sequence[Detected]) -> Detected:
    """`fuse_members` of the detections of each image; the program does not wait for the device.

    Args:
        members: one entry per detector, at least one, of the same images.
    """
    if len(members) == 1:
        return members[0]
    every = _side_by_side(members)
    ranks = _ranks(every)
    best, is_settled = kept_of_groups(every.boxes_xyxy, ranks, every.is_there, SAME_OBJECT_IOU, every.labels)
    into, overlap = _nearest_of(every, ranks, best)
    group = torch.where(overlap >= SAME_OBJECT_IOU, into * len(members) + _member_of(members), 0)
    joins = (overlap >= SAME_OBJECT_IOU) & _is_first(group, overlap, ranks.shape[1] * len(members))
    weights = every.scores.clamp(min=1e-6) * joins
    total = torch.zeros_like(weights).scatter_add(1, into, weights)
    boxes = _added(weights[..., None] * every.boxes_xyxy, into) / total.clamp(min=1e-12)[..., None]
    mean = _added(every.class_scores * joins[..., None], into) / len(members)
    scores = mean.gather(2, every.labels[..., None])[..., 0]
    fused = replace(every, boxes_xyxy=boxes, scores=scores, class_scores=mean.clamp(max=1.0), is_there=best)
    return replace(_best_first(fused, ranks), is_settled=is_settled & every.is_settled)


def keep_detected(found: Detected, threshold: float, most: int, nms_iou: float) -> Detected:
    """Of each image the detections with an area and a score at or above the threshold, after class-wise NMS, at most so many."""
    has_area = (found.boxes_xyxy[..., 2:] > found.boxes_xyxy[..., :2]).all(dim=2)
    alive, ranks = found.is_there & has_area & (found.scores >= threshold), _ranks(found)
    kept, is_settled = kept_of_groups(found.boxes_xyxy, ranks, alive, nms_iou, found.labels, PASSES)
    best = _best_first(replace(found, is_there=kept), ranks)
    rows = torch.arange(best.labels.shape[1], device=best.labels.device)[:most].expand(len(best), -1)
    return replace(best.chosen(rows, best.is_there[:, :most]), is_settled=is_settled & found.is_settled)


def _side_by_side(members: Sequence[Detected]) -> Detected:
    """The detections of all members on each image, in one row."""
    columns = zip(*((one.boxes_xyxy, one.labels, one.scores, one.class_scores, one.is_there) for one in members), strict=True)
    xyxy, labels, scores, class_scores, there = (torch.cat(column, dim=1) for column in columns)
    is_settled = torch.stack([one.is_settled for one in members]).all()
    return Detected(xyxy, labels, scores, class_scores, there, is_settled, members[0].space)


def _member_of(members: Sequence[Detected]) -> Tensor:
    """(M,) int64, the member of each place."""
    return torch.cat([torch.full_like(one.labels[0], i) for i, one in enumerate(members)])


def _ranks(found: Detected) -> Tensor:
    """(B, M) int64 places in the order of scores, best first; places that are left come last."""
    order = found.scores.masked_fill(~found.is_there, -1.0).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter(1, order, places)


def _nearest_of(every: Detected, ranks: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    """For each detection (B, M) the best one of its class that it overlaps most, and by how much; 2 for those that are best.

    Args:
        every: the detections of all members.
        ranks: (B, M) by score; the better one wins a tie.
        best: (B, M) bool, what suppression leaves.
    """
    count, order = ranks.shape[1], ranks.argsort(dim=1)
    is_one_class = every.labels[:, :, None] == every.labels[:, None]
    iou = iou_in_groups(every.boxes_xyxy).masked_fill(~(is_one_class & best[:, None] & every.is_there[..., None]), 0.0)
    itself = torch.eye(count, dtype=torch.bool, device=ranks.device) & best[:, None]
    by_rank = torch.where(itself, 2.0, iou).gather(2, order[:, None].expand(-1, count, -1))
    overlap, column = by_rank.max(dim=2)
    return order.gather(1, column), overlap


def _is_first(group: Tensor, value: Tensor, num_groups: int) -> Tensor:
    """(B, M) bool: of each group (B, M) the one of highest value (B, M) above 0, the first of several."""
    highest = value.new_zeros(len(group), num_groups).scatter_reduce(1, group, value, "amax")
    places = torch.arange(group.shape[1], device=group.device).expand_as(group)
    places = torch.where(value == highest.gather(1, group), places, group.shape[1])
    first = places.new_full((len(group), num_groups), group.shape[1]).scatter_reduce(1, group, places, "amin")
    return first.gather(1, group) == torch.arange(group.shape[1], device=group.device)


def _added(values: Tensor, into: Tensor) -> Tensor:
    """Values (B, M, D) added into the places (B, M) int64."""
    return torch.zeros_like(values).scatter_add(1, into[..., None].expand_as(values), values)


def _best_first(found: Detected, ranks: Tensor) -> Detected:
    """The same, best first in each image, and of equal scores those that had the lower rank."""
    order = ranks.argsort(dim=1)
    scores = found.scores.masked_fill(~found.is_there, -1.0).gather(1, order)
    order = order.gather(1, scores.argsort(dim=1, descending=True, stable=True))
    return found.chosen(order, found.is_there.gather(1, order))
