"""How two protocols draw the same objects: the systematic difference of their boxes, and how far a person's box can be trusted.

Shape letters: P pairs of boxes, K_s and K_t classes of the source's and of the target's label space. The four sides of a box
are x1, y1, x2, y2. An offset is the way from a side of one box to that side of the other, as a share of the first box's width
(x) or height (y).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torchvision.ops import box_iou, clip_boxes_to_image

from lat.structures import LabeledBoxes

PAIR_IOU = 0.3  # least overlap of a pair; low, since two conventions may differ in size
BORDER = 1.5  # a side that is no further than this from the image's border, in pixels, lies on it
FEWEST_PAIRS = 5  # a pair of classes with fewer is not judged
SURE_ERRORS = 2.0  # standard errors by which a difference must exceed zero to count
LEAST_SPREAD = 0.01  # no convention is followed more closely than this, as a share of a box's side


@dataclass(frozen=True, eq=False)
class BoxPairs:
    """Boxes of one image, or of many, in two label spaces, matched one to one.

    Attributes:
        first: (P,) int64 classes in the first space.
        second: (P,) int64 classes in the second space.
        offsets: (P, 4) float32 from the first box to the second; NaN for a side that lies on the image's border in either,
            where a box is cut off whatever its convention.
    """

    first: Tensor
    second: Tensor
    offsets: Tensor

    @classmethod
    def of_image(cls, first: LabeledBoxes, second: LabeledBoxes, size_hw: tuple[int, int]) -> Self:
        """Pairs of boxes that overlap each other more than any other box, and at least by `PAIR_IOU`."""
        rows, columns = _best_for_each_other(first.boxes_xyxy, second.boxes_xyxy)
        a, b = first.boxes_xyxy[rows], second.boxes_xyxy[columns]
        at_border = _on_border(a, size_hw) | _on_border(b, size_hw)
        offsets = ((b - a) / _sides(a)).masked_fill(at_border, float("nan"))
        return cls(first.labels[rows], second.labels[columns], offsets)

    @classmethod
    def of_images(cls, pairs: Iterable[BoxPairs]) -> Self:
        """The pairs of many images together."""
        empty = torch.zeros(0, dtype=torch.int64)
        parts = [BoxPairs(empty, empty, torch.zeros(0, 4)), *pairs]
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in ("first", "second", "offsets")))


@dataclass(frozen=True, eq=False)
class BoxConventions:
    """For each source class and target class, how a box of the one becomes a box of the other.

    Attributes:
        offsets: (K_s, K_t, 4) float32, the systematic difference; 0 where none is certain.
        label_variance: (K_s, K_t, 4) float32, variance of the target's box around the source's moved one, as a share of its
            side; inf where too few pairs were seen.
        detector_variance: (K_t, 4) float32, the same for a box of the target's detector.
    """

    offsets: Tensor
    label_variance: Tensor
    detector_variance: Tensor

    @classmethod
    def unknown(cls, num_source: int, num_target: int) -> Self:
        """Nothing is known: no box is kept."""
        unseen = torch.full((num_source, num_target, 4), float("inf"))
        return cls(torch.zeros(num_source, num_target, 4), unseen, torch.full((num_target, 4), LEAST_SPREAD**2))

    def moved(self, boxes_xyxy: Tensor, source_labels: Tensor, target_labels: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Source boxes (N, 4) as the target's protocol draws them; sides on the image's border stay there."""
        offsets = self.offsets[source_labels, target_labels] * _sides(boxes_xyxy)
        moved = boxes_xyxy + offsets.masked_fill(_on_border(boxes_xyxy, size_hw), 0.0)
        return clip_boxes_to_image(moved, size_hw)

    def label_share(self, source_labels: Tensor, target_labels: Tensor) -> Tensor:
        """(N, 4) in [0, 1]: how much of each side a person's moved box decides, the rest being the model's."""
        ours = self.label_variance[source_labels, target_labels].clamp(min=LEAST_SPREAD**2)
        theirs = self.detector_variance[target_labels].clamp(min=LEAST_SPREAD**2)
        return theirs / (ours + theirs)


def estimate_conventions(
    on_source: BoxPairs, on_target: BoxPairs, detector: BoxPairs, num_source: int, num_target: int
) -> BoxConventions:
    """Compare two protocols that no image shares, through the detectors that imitate them.

    A pair on the source's images differs by the convention and by what the target's detector does wrong; a pair on the
    target's images by the convention and, the other way round, by what the source's detector does wrong. Detectors trained
    alike err alike, so their mean is the convention (a difference that is not certain is shrunk to none). What pairs on the
    source's images scatter more than the target's detector does on held-out images of its own is the scatter of the source's
    boxes.

    Args:
        on_source: the source's ground truth and the target detector's boxes, on images of the source.
        on_target: the source detector's boxes and the target's ground truth, on images of the target.
        detector: the target detector's boxes and the target's ground truth, on images that it has not seen if there are any.
        num_source: K_s.
        num_target: K_t.
    """
    conventions = BoxConventions.unknown(num_source, num_target)
    overall = _spread(detector.offsets)
    for target in range(num_target):
        own = detector.offsets[(detector.first == target) & (detector.second == target)]
        conventions.detector_variance[target] = _spread(own) if len(own) >= FEWEST_PAIRS else overall
        for source in range(num_source):
            here = on_source.offsets[(on_source.first == source) & (on_source.second == target)]
            there = on_target.offsets[(on_target.first == source) & (on_target.second == target)]
            if min(len(here), len(there)) < FEWEST_PAIRS:
                continue
            conventions.offsets[source, target] = _certain_mean(here, there)
            variance = (_spread(here) - conventions.detector_variance[target]).clamp(min=0.0)
            conventions.label_variance[source, target] = variance
    return conventions


def _certain_mean(here: Tensor, there: Tensor) -> Tensor:
    """(4,) mean of the medians of offsets (P, 4) and (Q, 4), shrunk to 0 as it nears `SURE_ERRORS` of its standard errors."""
    mean = (_median(here) + _median(there)) / 2
    # the standard error of a median is 1.25 times that of a mean
    squared_error = sum((1.2533**2) * _spread(part) / _count(part).clamp(min=1) for part in (here, there)) / 4
    certainty = 1 - SURE_ERRORS**2 * squared_error / mean.square().clamp(min=1e-12)
    return mean * certainty.clamp(min=0.0)


def _median(offsets: Tensor) -> Tensor:
    """(4,) medians of the known offsets (P, 4); 0 where none is known."""
    return offsets.nanmedian(dim=0).values.nan_to_num(0.0) if len(offsets) else torch.zeros(4)


def _spread(offsets: Tensor) -> Tensor:
    """(4,) robust variances of the known offsets (P, 4), from their median absolute deviation."""
    return (1.4826 * _median((offsets - _median(offsets)).abs())).square()


def _count(offsets: Tensor) -> Tensor:
    return (~offsets.isnan()).sum(dim=0)


def _best_for_each_other(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of a (N, 4) and b (M, 4) that overlap each other most: two (P,) int64."""
    if not len(a) or not len(b):
        return torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    overlaps = box_iou(a, b)
    best_iou, best = overlaps.max(dim=1)
    rows = torch.arange(len(a))
    mutual = (overlaps.argmax(dim=0)[best] == rows) & (best_iou >= PAIR_IOU)
    return rows[mutual], best[mutual]


def _sides(boxes_xyxy: Tensor) -> Tensor:
    """(N, 4) width, height, width, height; at least a thousandth of a pixel."""
    return (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clamp(min=1e-3).repeat(1, 2)


def _on_border(boxes_xyxy: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """(N, 4) bool: sides that lie on the border of the image."""
    height, width = size_hw
    frame = boxes_xyxy.new_tensor([0.0, 0.0, width, height])
    return (boxes_xyxy - frame).abs() <= BORDER
