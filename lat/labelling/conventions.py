"""Box conventions: how two protocols draw the same objects differently, and how far a human box can be trusted.

Shape letters: P pairs of boxes, K_s and K_t classes of the source's and of the target's label space. The four sides of a box
are x1, y1, x2, y2. An offset leads from a side of one box to the same side of the other, as a share of the first box's width (x)
or height (y).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import pi
from typing import Self

import numpy as np
import torch
from torch import Tensor

from lat.core.boxes import clip_to_images
from lat.labels.overlaps import overlaps
from lat.labels.table import LabelTable

PAIR_IOU = 0.3  # overlap from which two boxes are a pair; low, since two conventions may differ in size
BORDER = 1.5  # a side within this many pixels of the image's border lies on it
MIN_PAIRS = 5  # with fewer pairs of boxes, the convention of two classes stays unknown
PRIOR_PAIRS = 20  # weight, in pairs, of a detector's errors over all classes when those of one class are estimated
BIAS_SPREAD = 0.02  # how much a detector's bias differs between classes, as a share of a box's side
FOREIGN_GROWTH = 2.0  # a detector's variance may grow this many times on images of another dataset
FAR_OFF = 4.0  # a side this many of the detector's standard deviations away does not follow the convention
MIN_SPREAD = 0.01  # nobody follows a convention more closely than this, as a share of a box's side


@dataclass(frozen=True, eq=False)
class BoxPairs:
    """Boxes in two label spaces, matched one to one within their images.

    Attributes:
        first: (P,) int64 classes in the first space.
        second: (P,) int64 classes in the second space.
        offsets: (P, 4) float32 from the first box to the second; NaN for a side that lies on the image's border in either,
            where any box is cut off, whatever its convention.
    """

    first: Tensor
    second: Tensor
    offsets: Tensor

    @classmethod
    def of_tables(cls, first: LabelTable, second: LabelTable) -> Self:
        """Pairs of boxes of one image that overlap each other more than any other box, and by `PAIR_IOU` or more.

        Both tables are of the same images in the same order.
        """
        pairs = overlaps(first, second)
        best, iou = pairs.best()
        rows = np.flatnonzero(iou >= PAIR_IOU)
        rows = rows[pairs.turned(second.num_boxes).best()[0][best[rows]] == rows]
        a, b = torch.from_numpy(first.boxes_xyxy[rows]), torch.from_numpy(second.boxes_xyxy[best[rows]])
        sizes_hw = torch.from_numpy(first.sizes_hw[first.image_of_box[rows]])
        at_border = _on_border(a, sizes_hw) | _on_border(b, sizes_hw)
        offsets = ((b - a) / _sides(a)).masked_fill(at_border, float("nan"))
        return cls(torch.from_numpy(first.labels[rows]), torch.from_numpy(second.labels[best[rows]]), offsets)

    @classmethod
    def joined(cls, pairs: Iterable[BoxPairs]) -> Self:
        """The pairs of several sets of images together."""
        empty = torch.zeros(0, dtype=torch.int64)
        parts = [BoxPairs(empty, empty, torch.zeros(0, 4)), *pairs]
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in ("first", "second", "offsets")))


@dataclass(frozen=True, eq=False)
class BoxConventions:
    """For each source class and target class, how a box of the one becomes a box of the other.

    Attributes:
        offsets: (K_s, K_t, 4) float32, the systematic difference; 0 where none is certain.
        human_variance: (K_s, K_t, 4) float32, variance of the target's box around the moved human box, as a share of its side;
            inf where too few pairs were seen.
        detector_variance: (K_t, 4) float32, the same around a box of the target's detector.
        exceptions: (K_s, K_t, 4) float32 in [0, 1], share of boxes with a side that does not follow the convention at all, such
            as the hidden side of an object where one protocol draws the visible part and the other the full extent.
    """

    offsets: Tensor
    human_variance: Tensor
    detector_variance: Tensor
    exceptions: Tensor

    @classmethod
    def unknown(cls, num_source: int, num_target: int) -> Self:
        """Nothing is known: no human box is kept."""
        unseen = torch.full((num_source, num_target, 4), float("inf"))
        nothing = torch.zeros(num_source, num_target, 4)
        return cls(nothing, unseen, torch.full((num_target, 4), MIN_SPREAD**2), nothing.clone())

    def moved(self, boxes_xyxy: Tensor, source_labels: Tensor, target_labels: Tensor, sizes_hw: Tensor) -> Tensor:
        """Source boxes (N, 4) as the target's protocol draws them; sides on the border of the image (N, 2) stay there."""
        offsets = self.offsets[source_labels, target_labels] * _sides(boxes_xyxy)
        moved = boxes_xyxy + offsets.masked_fill(_on_border(boxes_xyxy, sizes_hw), 0.0)
        return clip_to_images(moved, sizes_hw)

    def human_share(self, moved_xyxy: Tensor, drawn_xyxy: Tensor, source_labels: Tensor, target_labels: Tensor) -> Tensor:
        """(N, 4) in [0, 1]: the weight of the human box in each side; the model's box has the rest.

        Where every box follows the convention, the weights are inverse variances. Where some do not, a side is the likelier to
        be such an exception the further away the model draws it (Bayes; the side of an exception is at a random position within
        the box's size).

        Args:
            moved_xyxy: (N, 4) the human boxes, moved to the target's convention.
            drawn_xyxy: (N, 4) the model's boxes.
            source_labels: (N,) int64.
            target_labels: (N,) int64.
        """
        ours = self.human_variance[source_labels, target_labels].clamp(min=MIN_SPREAD**2)
        theirs = self.detector_variance[target_labels].clamp(min=MIN_SPREAD**2)
        both = ours + theirs
        apart = ((moved_xyxy - drawn_xyxy) / _sides(moved_xyxy)).square()
        follows = (1 - self.exceptions[source_labels, target_labels]) * torch.exp(-apart / (2 * both)) / (2 * pi * both).sqrt()
        odds_against = self.exceptions[source_labels, target_labels] / follows.nan_to_num(0.0).clamp(min=1e-12)
        return theirs / both / (1 + odds_against)


def estimate_conventions(on_source: BoxPairs, detector: BoxPairs, num_source: int, num_target: int) -> BoxConventions:
    """Compare two protocols that share no image: the target's detector draws as the target does, on images of the source.

    The convention is the offset from the source's human boxes to the detector's, plus the detector's own bias, which held-out
    images show. It is shrunk towards zero to the extent that the offsets of all classes could be chance (empirical Bayes).
    Pairs on the source's images scatter more than the detector does on the target's; what could not be chance of that is the
    scatter of the human boxes.

    Args:
        on_source: human boxes of the source and the target detector's boxes, on images of the source.
        detector: the target detector's boxes and human boxes of the target, on images that it has not seen, if there are any.
        num_source: K_s.
        num_target: K_t.
    """
    conventions = BoxConventions.unknown(num_source, num_target)
    errors = [_Offsets.of(detector, k, k) for k in range(num_target)]
    overall = _Offsets.summary(detector.offsets)
    squared_error = torch.zeros(num_source, num_target, 4)
    for target, alone in enumerate(errors):
        bias, bias_error = _near(alone, overall)
        variance = alone.variance_near(overall)
        far_off = alone.share_far_off(variance)
        conventions.detector_variance[target] = variance
        for source in range(num_source):
            seen = _Offsets.of(on_source, source, target)
            if seen.count.max() < MIN_PAIRS:
                continue
            conventions.offsets[source, target] = seen.median + bias
            squared_error[source, target] = seen.squared_error + bias_error
            conventions.human_variance[source, target] = _certain_excess(seen, variance, alone.count + PRIOR_PAIRS)
            conventions.exceptions[source, target] = seen.share_far_off(variance) - far_off
    known = conventions.human_variance.isfinite()
    spread = _true_spread(conventions.offsets[known], squared_error[known])
    trust = spread / (spread + squared_error).clamp(min=1e-12)
    certain = (1 - squared_error / conventions.offsets.square().clamp(min=1e-12)).clamp(min=0.0)
    conventions.offsets.mul_(trust * certain)
    conventions.human_variance.add_(trust * squared_error)
    conventions.exceptions.clamp_(min=0.0)
    return conventions


@dataclass(frozen=True, eq=False)
class _Offsets:
    """Offsets (P, 4) and their summary: (4,) each, one value per side."""

    offsets: Tensor
    median: Tensor
    variance: Tensor
    count: Tensor

    @classmethod
    def of(cls, pairs: BoxPairs, first: int, second: int) -> Self:
        """Of the pairs of two classes."""
        return cls.summary(pairs.offsets[(pairs.first == first) & (pairs.second == second)])

    @classmethod
    def summary(cls, offsets: Tensor) -> Self:
        """Summarise offsets (P, 4), NaNs left out; the variance is that of a normal distribution with the same median absolute
        deviation.
        """
        median = _median(offsets)
        return cls(offsets, median, (1.4826 * _median((offsets - median).abs())).square(), (~offsets.isnan()).sum(dim=0))

    @property
    def squared_error(self) -> Tensor:
        """Squared standard error of the median."""
        return self.squared_error_if(self.variance)

    def squared_error_if(self, variance: Tensor) -> Tensor:
        """The same if offsets had this variance: pi / 2 times the squared standard error of a mean."""
        return 1.5708 * variance / self.count.clamp(min=1)

    def variance_near(self, overall: _Offsets) -> Tensor:
        """The variance, as if `PRIOR_PAIRS` more pairs had the overall variance."""
        return (self.count * self.variance + PRIOR_PAIRS * overall.variance) / (self.count + PRIOR_PAIRS)

    def share_far_off(self, variance: Tensor) -> Tensor:
        """Share of the offsets that are `FAR_OFF` standard deviations or more from the median, as if `PRIOR_PAIRS` more had been
        seen that are not.
        """
        far = (self.offsets - self.median).abs() >= FAR_OFF * variance.sqrt().clamp(min=MIN_SPREAD)
        return far.sum(dim=0) / (self.count + PRIOR_PAIRS)


def _near(alone: _Offsets, overall: _Offsets) -> tuple[Tensor, Tensor]:
    """Bias of a detector for one class, pulled towards the bias over all classes, from which it differs by about `BIAS_SPREAD`;
    and its squared standard error.
    """
    squared_error = alone.squared_error_if(alone.variance_near(overall))
    trust = torch.where(alone.count > 0, BIAS_SPREAD**2 / (BIAS_SPREAD**2 + squared_error), 0.0)
    bias = overall.median + trust * (alone.median - overall.median)
    return bias, torch.where(alone.count > 0, trust * squared_error, BIAS_SPREAD**2)


def _true_spread(offsets: Tensor, squared_errors: Tensor) -> Tensor:
    """How much offsets (D,) differ from zero beyond chance: a variance."""
    weights = 1 / squared_errors.clamp(min=1e-8)
    beyond = weights * (offsets.square() - squared_errors)
    return (beyond.sum() / weights.sum().clamp(min=1e-8)).clamp(min=0.0)


def _certain_excess(seen: _Offsets, variance: Tensor, count: Tensor) -> Tensor:
    """(4,) variance of what was seen beyond the detector's, less one standard error of the difference.

    On images of another dataset a detector may scatter more than on its own; up to `FOREIGN_GROWTH` times proves nothing.
    """
    # the standard error of a variance from a median absolute deviation of P values is 2.33 / sqrt(P) of it
    error = 2.33 * (seen.variance.square() / seen.count.clamp(min=1) + (FOREIGN_GROWTH * variance).square() / count).sqrt()
    return (seen.variance - FOREIGN_GROWTH * variance - error).clamp(min=0.0)


def _median(offsets: Tensor) -> Tensor:
    """(4,) medians of offsets (P, 4) without NaNs; 0 where there are none."""
    return offsets.nanmedian(dim=0).values.nan_to_num(0.0) if len(offsets) else torch.zeros(4)


def _sides(boxes_xyxy: Tensor) -> Tensor:
    """(N, 4) width, height, width, height; at least a thousandth of a pixel."""
    return (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clamp(min=1e-3).repeat(1, 2)


def _on_border(boxes_xyxy: Tensor, sizes_hw: Tensor) -> Tensor:
    """(N, 4) bool: sides of boxes that lie on the border of their images, of height and width (N, 2)."""
    far = sizes_hw.flip(-1)
    return (boxes_xyxy - torch.cat([torch.zeros_like(far), far], dim=1)).abs() <= BORDER
