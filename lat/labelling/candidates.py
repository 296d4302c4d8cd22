"""What may become a label: proposals as one class each, of which the best suppress others and are averaged with them.

Shape letters: C candidates of all images of a batch, P pairs of candidates of one image and class, N of the candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lat.core.boxes import aligned_iou, rows_of_one_group

FUSE_IOU = 0.6  # boxes of one class that overlap the best one by this much are averaged with it


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates of some images; only those of one image and one class have to do with each other.

    Attributes:
        boxes_xyxy: (C, 4) float32.
        labels: (C,) int64 classes in the target's label space.
        scores: (C,) float32.
        images: (C,) int64 index of the image of each.
        source_labels: (C,) int64 classes of the source's own boxes in its label space; -1 for candidates of other origin.
        originals_xyxy: (C, 4) float32, the boxes of the proposals.
    """

    boxes_xyxy: Tensor
    labels: Tensor
    scores: Tensor
    images: Tensor
    source_labels: Tensor
    originals_xyxy: Tensor

    def best(self, nms_iou: float, most: int, *, own_first: bool) -> Tensor:
        """Candidates (N,) int64 that no better one suppresses, image after image and best first, at most `most` of an image.

        With `own_first` the source's own boxes are better than others whatever the scores. Two boxes of one class that a person
        drew one upon the other are then two objects, and stay. Two that come to lie on each other only here, such as a rider's
        and a bicycle's in a space that draws one box for both, are one.
        """
        first, second, iou = self._pairs
        suppresses = iou >= nms_iou
        order = self.scores.argsort(descending=True, stable=True)
        if own_first:
            order = order[(self.source_labels[order] < 0).int().argsort(stable=True)]
            suppresses &= ~self._are_drawn_apart(nms_iou)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device)
        suppresses &= rank[first] < rank[second]
        kept = _unsuppressed(first[suppresses], second[suppresses], len(self.scores)).nonzero().flatten()
        kept = kept[by_image(self.images[kept], self.scores[kept])]
        images = self.images[kept]
        place = torch.arange(len(kept), device=kept.device) - torch.searchsorted(images, images)
        return kept[place < most]

    def fused(self, best: Tensor, precision: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) averaged with the candidates of their class that lie on them, and (N,) the highest score among these.

        The source's own boxes take part in no average but their own.

        Args:
            best: (N,) int64 candidates.
            precision: (C, 4) float32 inverse variance of each side, by which and by the score candidates weigh.
        """
        first, second, iou = self._pairs
        place = torch.full_like(self.labels, -1)
        place[best] = torch.arange(len(best), device=best.device)
        agrees = (first == second) | ((iou >= FUSE_IOU) & (self.source_labels[second] < 0))
        agrees &= place[first] >= 0
        into, of = place[first[agrees]], second[agrees]
        weights = self.scores[of, None].clamp(min=1e-6) * precision[of]
        nothing = torch.zeros_like(self.boxes_xyxy[best])
        boxes = nothing.index_add(0, into, weights * self.boxes_xyxy[of]) / nothing.index_add(0, into, weights)
        return boxes, self.scores[best].scatter_reduce(0, into, self.scores[of], "amax")

    @cached_property
    def _pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Two (P,) int64, ordered pairs of one image and class, each candidate with itself among them; and (P,) their IoU."""
        group = self.images * (self.labels.amax() + 1 if len(self.labels) else 1) + self.labels
        first, second = rows_of_one_group(group, group)
        return first, second, aligned_iou(self.boxes_xyxy[first], self.boxes_xyxy[second])

    def _are_drawn_apart(self, nms_iou: float) -> Tensor:
        """(P,) bool: pairs of the source's own boxes of one class that lie on each other as a person drew them."""
        first, second, _ = self._pairs
        one_class = (self.source_labels[first] >= 0) & (self.source_labels[first] == self.source_labels[second])
        return one_class & (aligned_iou(self.originals_xyxy[first], self.originals_xyxy[second]) >= nms_iou)


def by_image(images: Tensor, scores: Tensor) -> Tensor:
    """The order (N,) int64 of boxes of `images` (N,) with `scores` (N,): image after image, and best first in each."""
    order = scores.argsort(descending=True, stable=True)
    return order[images[order].argsort(stable=True)]


def _unsuppressed(first: Tensor, second: Tensor, count: int) -> Tensor:
    """(count,) bool: what is left if each of `first` (S,), unless itself suppressed, suppresses its worse `second` (S,).

    Every pass settles at least one more link of each chain of suppressions, so that the passes are few.
    """
    kept = torch.ones(count, dtype=torch.bool, device=first.device)
    while True:
        now = torch.ones_like(kept)
        now[second[kept[first]]] = False
        if torch.equal(now, kept):
            return kept
        kept = now
