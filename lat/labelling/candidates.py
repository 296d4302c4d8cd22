"""Candidates for labels: proposals as one class each. The best suppresses those that overlap it, and is averaged with them.

Shape letters: C candidates of all images of a batch, P pairs of candidates of one image and class, N best candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lat.core.boxes import aligned_iou, rows_of_one_group

FUSE_IOU = 0.6  # the box of a candidate that overlaps the best one of its class this much is averaged with it


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates of some images; only those of one image and one class affect each other.

    Attributes:
        boxes_xyxy: (C, 4) float32, the best that each alone says of its object.
        drawn_xyxy: (C, 4) float32, as the model draws them.
        detected_xyxy: (C, 4) float32, as the target's detector draws them; only rows of its detections are read.
        is_detection: (C,) bool, True for detections of the target's detector.
        labels: (C,) int64 classes in the target's label space.
        scores: (C,) float32.
        images: (C,) int64 image index of each.
        source_labels: (C,) int64 classes of human boxes in the source's label space; -1 for other candidates.
        proposals_xyxy: (C, 4) float32, the boxes of the proposals before the model moved them.
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

    def best(self, nms_iou: float, max_per_image: int, *, human_first: bool) -> Tensor:
        """Candidates (N,) int64 that no better one suppresses, image after image, best first, at most `max_per_image` of each.

        With `human_first`, human boxes beat all others, whatever the scores. Two human boxes of one class that overlap as drawn
        are then two objects, and both stay. Two that overlap only in the target's protocol, such as a rider's and a bicycle's if
        the target draws one box around both, are one object.
        """
        first, second, iou = self._pairs
        suppresses = iou >= nms_iou
        order = self.scores.argsort(descending=True, stable=True)
        if human_first:
            order = order[(self.source_labels[order] < 0).int().argsort(stable=True)]
            suppresses &= ~self._are_drawn_on_each_other(nms_iou)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device)
        suppresses &= rank[first] < rank[second]
        kept = _unsuppressed(first[suppresses], second[suppresses], len(self.scores)).nonzero().flatten()
        kept = kept[order_by_image(self.images[kept], self.scores[kept])]
        images = self.images[kept]
        place = torch.arange(len(kept), device=kept.device) - torch.searchsorted(images, images)
        return kept[place < max_per_image]

    def agreeing(self, best: Tensor, least_iou: float) -> tuple[Tensor, Tensor]:
        """Places (P,) int64 in the best (N,) candidates, and (P,) the candidates that overlap these by an IoU, themselves among
        them. A human box agrees only with itself.
        """
        first, second, iou = self._pairs
        place = torch.full_like(self.labels, -1)
        place[best] = torch.arange(len(best), device=best.device)
        agrees = (first == second) | ((iou >= least_iou) & (self.source_labels[second] < 0))
        agrees &= place[first] >= 0
        return place[first[agrees]], second[agrees]

    def drawn(self, best: Tensor) -> Tensor:
        """Boxes (N, 4) that networks draw of the objects of the best (N,) candidates.

        That is the mean of what the model draws for each candidate that agrees, weighted by score, and where a detection is
        among them the mean of that and of what the detector draws.
        """
        into, of = self.agreeing(best, FUSE_IOU)
        detections = self.is_detection[of]
        by_model, _ = self._mean(self.drawn_xyxy, into, of, len(best))
        by_detector, is_detected = self._mean(self.detected_xyxy, into[detections], of[detections], len(best))
        return torch.where(is_detected[:, None], (by_model + by_detector) / 2, by_model)

    def _mean(self, boxes_xyxy: Tensor, into: Tensor, of: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Mean boxes (count, 4), weighted by score, of candidates `of` (P,) for places `into` (P,), and whether there are any."""
        weights = self.scores[of, None].clamp(min=1e-6)
        total = weights.new_zeros(count, 1).index_add(0, into, weights)
        boxes = boxes_xyxy.new_zeros(count, 4).index_add(0, into, weights * boxes_xyxy[of])
        return boxes / total.clamp(min=1e-12), total[:, 0] > 0

    @cached_property
    def _pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Two (P,) int64: ordered pairs of one image and class, including each candidate with itself; and (P,) their IoU."""
        group = self.images * (self.labels.amax() + 1 if len(self.labels) else 1) + self.labels
        first, second = rows_of_one_group(group, group)
        return first, second, aligned_iou(self.boxes_xyxy[first], self.boxes_xyxy[second])

    def _are_drawn_on_each_other(self, nms_iou: float) -> Tensor:
        """(P,) bool: pairs of human boxes of one class that overlap as drawn."""
        first, second, _ = self._pairs
        of_one_class = (self.source_labels[first] >= 0) & (self.source_labels[first] == self.source_labels[second])
        return of_one_class & (aligned_iou(self.proposals_xyxy[first], self.proposals_xyxy[second]) >= nms_iou)


def order_by_image(images: Tensor, scores: Tensor) -> Tensor:
    """The order (N,) int64 of boxes of `images` (N,) with `scores` (N,): image after image, best first in each."""
    order = scores.argsort(descending=True, stable=True)
    return order[images[order].argsort(stable=True)]


def _unsuppressed(first: Tensor, second: Tensor, count: int) -> Tensor:
    """(count,) bool: the candidates that remain if each of `first` (S,), unless suppressed itself, suppresses its `second` (S,).

    Each pass resolves at least one more link of every chain of suppressions, so a few passes are enough.
    """
    kept = torch.ones(count, dtype=torch.bool, device=first.device)
    while True:
        now = torch.ones_like(kept)
        now[second[kept[first]]] = False
        if torch.equal(now, kept):
            return kept
        kept = now
