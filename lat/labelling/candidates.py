"""Candidates for labels: proposals as one class each. The best suppresses those that overlap it, and is averaged with them.

What is found here has a size that the host knows before: no function waits for a device, but for those that say so.
Shape letters: C candidates of all images of a batch, P pairs of candidates of one image and class, N best candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lat.core.boxes import iou_of_pairs
from lat.core.suppression import Suppression, Survivors, order_by_image, pairs_in_groups

FUSE_IOU = 0.6  # the box of a candidate that overlaps the best one of its class this much is averaged with it


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates of some images; only those of one image and one class affect each other, and only those that have an area.

    Attributes:
        boxes_xyxy: (C, 4) float32, the best that each alone says of its object.
        drawn_xyxy: (C, 4) float32, as the model draws them.
        detected_xyxy: (C, 4) float32, as the target's detector draws them; only rows of its detections are read.
        is_detection: (C,) bool, True for detections of the target's detector for the class. It may draw another class elsewhere.
        labels: (C,) int64 classes in the target's label space.
        scores: (C,) float32.
        images: (C,) int64 image index of each.
        source_labels: (C,) int64 classes of human boxes in the source's label space; -1 for other candidates.
        proposals_xyxy: (C, 4) float32, the boxes of the proposals before the model moved them.
        num_pairs: how many pairs there are of one image and class.
    """

    boxes_xyxy: Tensor
    drawn_xyxy: Tensor
    detected_xyxy: Tensor
    is_detection: Tensor
    labels: Tensor
    scores: Tensor
    images: Tensor
    source_labels: Tensor
    proposals_xyxy: Tensor
    num_pairs: int

    def __len__(self) -> int:
        return len(self.scores)

    def contest(self, nms_iou: float, max_per_image: int, *, human_first: bool) -> Survivors:
        """Who suppresses whom, so that at most `max_per_image` candidates of each image are left.

        With `human_first`, human boxes beat all others, whatever the scores. Two human boxes of one class that overlap as drawn
        are then two objects, and both stay, unless they nearly coincide: somebody has boxed one object twice. Two that overlap
        only in the target's protocol, such as a rider's and a bicycle's if the target draws one box around both, are one object.
        """
        first, second, iou = self.close_pairs(min(nms_iou, FUSE_IOU))
        suppresses, by_image = iou >= nms_iou, order_by_image(self.images, self.scores)
        order = self.scores.argsort(descending=True, stable=True)
        if human_first:
            suppresses &= ~self._are_two_objects(first, second, nms_iou)
            order = order[(self.source_labels[order] < 0).int().argsort(stable=True)]
        rank = torch.empty_like(order).scatter(0, order, torch.arange(len(order), device=order.device))
        first_wins = rank[first] < rank[second]
        better, other = torch.where(first_wins, first, second), torch.where(first_wins, second, first)
        return Survivors(Suppression(better, other, suppresses, self.has_area), by_image, self.images, max_per_image)

    def agreeing(self, best: Tensor, least_iou: float) -> tuple[Tensor, Tensor]:
        """Places (A,) int64 in the best (N,) candidates, and (A,) candidates that overlap these by an IoU, themselves among them.

        A human box agrees only with itself. A candidate speaks of one object: of several of the best it agrees with that which it
        overlaps most. What agrees with none of the best has the place N. The candidates of one place are ascending.
        """
        first, second, iou = self.close_pairs(least_iou)
        itself = torch.arange(len(self), device=iou.device)
        place = torch.full_like(self.labels, len(best))
        place[best] = torch.arange(len(best), device=best.device)
        agrees = iou >= least_iou
        of_first, of_second = (agrees & (self.source_labels[other] < 0) for other in (second, first))
        places = [torch.where(of_second, place[second], len(best)), place, torch.where(of_first, place[first], len(best))]
        into, of = torch.cat(places), torch.cat([first, itself, second])
        overlap = torch.cat([iou, torch.full_like(self.scores, 2.0), iou]).masked_fill(into == len(best), -1.0)
        most = torch.full_like(self.scores, -1.0).scatter_reduce(0, of, overlap, "amax")
        return torch.where(overlap == most[of], into, len(best)), of

    def drawn(self, best: Tensor, detector_share: float) -> Tensor:
        """Boxes (N, 4) that networks draw of the objects of the best (N,) candidates.

        That is the mean of what the model draws for each candidate that agrees, weighted by score. Where a detection is among
        them, what the detector draws has the share `detector_share` of the box.
        """
        into, of = self.agreeing(best, FUSE_IOU)
        weights, detected = self.scores[of, None].clamp(min=1e-6), torch.where(self.is_detection[of], into, len(best))
        by_model, _ = _mean(self.drawn_xyxy[of], weights, into, len(best))
        by_detector, is_detected = _mean(self.detected_xyxy[of], weights, detected, len(best))
        share = detector_share * is_detected[:, None]
        return (1 - share) * by_model + share * by_detector

    @cached_property
    def has_area(self) -> Tensor:
        """(C,) bool."""
        return (self.boxes_xyxy[:, 2:] > self.boxes_xyxy[:, :2]).all(dim=1)

    def close_pairs(self, least_iou: float) -> tuple[Tensor, Tensor, Tensor]:
        """Two (P,) int64: pairs of one image and class, each once, the first before the second; and (P,) their IoU.

        Pairs of a lower IoU than `least_iou` may be left out. That of a candidate without an area is NaN.
        """
        order, first, second, iou = self._pairs
        if iou.device.type == "cpu":  # another device would have to say how many there are
            rows = (iou >= least_iou).nonzero().flatten()
            first, second, iou = (one.index_select(0, rows) for one in (first, second, iou))
        return order.index_select(0, first), order.index_select(0, second), iou

    @cached_property
    def _pairs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `pairs_in_groups` finds, and the IoU of each pair."""
        num_classes = self.labels.amax() + 1 if len(self) else 1
        order, first, second = pairs_in_groups(self.images * num_classes + self.labels, self.num_pairs)
        boxes = torch.where(self.has_area[:, None], self.boxes_xyxy, float("nan"))
        return order, first, second, iou_of_pairs(boxes.index_select(0, order), first, second)

    def _are_two_objects(self, first: Tensor, second: Tensor, nms_iou: float) -> Tensor:
        """(P,) bool: pairs of human boxes of one class that overlap as drawn, and do not nearly coincide."""
        of_first = self.source_labels[first]
        of_one_class = (of_first >= 0) & (of_first == self.source_labels[second])
        as_drawn = iou_of_pairs(self.proposals_xyxy, first, second)
        return of_one_class & (as_drawn >= nms_iou) & (as_drawn < FUSE_IOU)


def _mean(boxes_xyxy: Tensor, weights: Tensor, into: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Weighted mean (count, 4) of the boxes (A, 4) for each place `into` (A,), and whether there are any; `count` is no place."""
    total = weights.new_zeros(count + 1, 1).index_add(0, into, weights)[:-1]
    boxes = boxes_xyxy.new_zeros(count + 1, 4).index_add(0, into, weights * boxes_xyxy)[:-1]
    return boxes / total.clamp(min=1e-12), total[:, 0] > 0
