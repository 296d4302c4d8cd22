"""Which anchors and regions of a batch train a two-stage detector, found in steps whose sizes the host knows before.

torchvision's matching and sampling ask for each image how many anchors match, and a device would have to answer. Here all images
are matched first, and one answer has the numbers of all. Draws are torchvision's: of the same random numbers, the same samples.

Shape letters: B images, G ground-truth boxes of an image, R anchors or regions of an image. A target is one of `weighted_rcnn`,
but boxes that torchvision's parts would not see, because they have no area, are there with the label 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from lat.core.boxes import DONT_CARE_SHARE, covered_share
from lat.core.selection import rows_where


@dataclass(frozen=True, eq=False)
class Labelled:
    """Anchors or regions of B images, and what they are to learn.

    Attributes:
        boxes_xyxy: (R, 4) float32 for each image.
        nearest: (R,) int64 for each image, the box that matches; it means nothing for background.
        labels: (R,) int64 for each image: the label of that box, 0 background, -1 not to be sampled.
    """

    boxes_xyxy: Sequence[Tensor]
    nearest: Sequence[Tensor]
    labels: Sequence[Tensor]

    @property
    def counts(self) -> Tensor:
        """(2 B,) int64: how many objects and how much background there is to sample, image after image."""
        return torch.stack([mask.sum() for of_image in self.labels for mask in (of_image > 0, of_image == 0)])

    def sampled(self, counts: Sequence[int], sampler: Any) -> list[tuple[Tensor, Tensor]]:
        """For each image the rows of sampled objects and of sampled background, int64, ascending.

        Args:
            counts: the numbers of the property of this name.
            sampler: torchvision's, which says how many; drawn is from torch's global generator.
        """
        found = []
        for labels, objects, background in zip(self.labels, counts[::2], counts[1::2], strict=True):
            most = min(objects, int(sampler.batch_size_per_image * sampler.positive_fraction))
            left = min(background, sampler.batch_size_per_image - most)
            found.append((_some(labels > 0, objects, most), _some(labels == 0, background, left)))
        return found

    def pairs(self, rows: Sequence[Tensor], targets: Sequence[dict[str, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
        """Of some rows of each image the boxes that match, (N, 4), zeros in an image without any, and the rows' own boxes."""
        matched, own = [], []
        for boxes, nearest, row, target in zip(self.boxes_xyxy, self.nearest, rows, targets, strict=True):
            truth = target["boxes"] if len(target["boxes"]) else boxes.new_zeros(1, 4)
            matched.append(truth[nearest[row]])
            own.append(boxes[row])
        return matched, own


def _some(mask: Tensor, count: int, wanted: int) -> Tensor:
    """(wanted,) int64, ascending: some of the `count` places where a mask is True, drawn."""
    drawn = torch.randperm(count, device=mask.device)[:wanted]
    return rows_where(mask, count)[drawn].sort().values


def match_on_device(matcher: Any, regions_xyxy: Tensor, boxes_xyxy: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """What `match_around_dont_care` finds, but the program does not wait, and some boxes may be missing.

    Args:
        matcher: torchvision's.
        regions_xyxy: anchors or regions (R, 4).
        boxes_xyxy: (G, 4); G may be 0.
        labels: (G,) int64: above 0 for boxes that count, -1 for don't-care boxes, 0 for missing ones.

    Returns:
        (R,) int64 the matched box and (R,) int64: its label, 0 background, -1 ignored.
    """
    if not len(boxes_xyxy):
        nothing = torch.zeros(len(regions_xyxy), dtype=torch.int64, device=regions_xyxy.device)
        return nothing, nothing
    iou, counts = box_iou(boxes_xyxy, regions_xyxy), labels > 0
    nearest, is_matched, is_between = _matched(matcher, iou, labels != 0)
    covered = covered_share(regions_xyxy, boxes_xyxy) >= DONT_CARE_SHARE
    is_ignored = is_between | is_matched | (covered & (labels < 0)).any(dim=1)
    own, is_object, _ = _matched(matcher, iou, counts)
    nearest = torch.where(is_object, own, nearest)
    is_object = is_object | (is_matched & counts[nearest])
    return nearest, torch.where(is_object, labels[nearest], torch.where(is_ignored, -1, 0))


def _matched(matcher: Any, iou: Tensor, is_there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Torchvision's `Matcher` of IoU (G, R) with the boxes that are there (G,) bool.

    Returns:
        (R,) int64 the nearest box, (R,) bool whether it matches, and (R,) bool whether it is between both thresholds.
    """
    iou = iou.masked_fill(~is_there[:, None], -1.0)
    best, nearest = iou.max(dim=0)
    is_matched = best >= matcher.high_threshold
    if matcher.allow_low_quality_matches:
        is_highest = iou == iou.max(dim=1, keepdim=True).values
        is_matched = is_matched | (is_highest & is_there[:, None]).any(dim=0)
    return nearest, is_matched, (best >= matcher.low_threshold) & ~is_matched
