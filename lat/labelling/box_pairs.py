"""Pairs of boxes that two people or detectors drew around one object, and by how much their sides differ.

Shape letters: P pairs of boxes. The four sides of a box are x1, y1, x2, y2. An offset leads from a side of one box to the same
side of the other, as a share of the first box's width (x) or height (y).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from lat.labels.overlaps import overlaps
from lat.labels.table import LabelTable

PAIR_IOU = 0.3  # overlap from which two boxes are a pair; low, since two conventions may differ in size
BORDER = 1.5  # a side within this many pixels of the image's border lies on it
MIN_PAIRS = 5  # with fewer pairs of two classes, the offset of a side is unknown
FAR_OFF = 4.0  # a side this many standard deviations away is of another object, or follows no convention
ROBUST = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
MEDIAN_ERROR = 1.5708  # squared standard error of a median over that of a mean, of a normal distribution
MAD_ERROR = 2.33  # relative standard error of a variance from a median absolute deviation of one value; of P, over sqrt(P)


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
        return cls._of_rows(first, second, *_matched(first, second))

    @classmethod
    def _of_rows(cls, first: LabelTable, second: LabelTable, rows: np.ndarray, others: np.ndarray) -> Self:
        a, b = torch.from_numpy(first.boxes_xyxy[rows]), torch.from_numpy(second.boxes_xyxy[others])
        sizes_hw = torch.from_numpy(first.sizes_hw[first.image_of_box[rows]])
        at_border = on_border(a, sizes_hw) | on_border(b, sizes_hw)
        offsets = ((b - a) / sides_of(a)).masked_fill(at_border, float("nan"))
        return cls(torch.from_numpy(first.labels[rows]), torch.from_numpy(second.labels[others]), offsets)

    @classmethod
    def of_three(cls, first: LabelTable, second: LabelTable, third: LabelTable) -> tuple[Self, Self]:
        """Pairs of the same boxes of the first table with boxes of the second, and with boxes of the third."""
        (rows, others), (more_rows, more) = _matched(first, second), _matched(first, third)
        both, one, another = np.intersect1d(rows, more_rows, assume_unique=True, return_indices=True)
        return cls._of_rows(first, second, both, others[one]), cls._of_rows(first, third, both, more[another])

    def without_medians(self) -> Tensor:
        """Offsets (P, 4) less the medians of their pair of classes; NaN where fewer than `MIN_PAIRS` sides tell the median."""
        result = torch.full_like(self.offsets, float("nan"))
        keys = self.first * (int(self.second.max()) + 1 if len(self.second) else 1) + self.second
        for key in keys.unique():
            seen = OffsetSummary.summary(self.offsets[keys == key])
            result[keys == key] = (seen.offsets - seen.median).masked_fill(seen.count < MIN_PAIRS, float("nan"))
        return result

    @classmethod
    def joined(cls, pairs: Iterable[BoxPairs]) -> Self:
        """The pairs of several sets of images together."""
        empty = torch.zeros(0, dtype=torch.int64)
        parts = [BoxPairs(empty, empty, torch.zeros(0, 4)), *pairs]
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in ("first", "second", "offsets")))


@dataclass(frozen=True, eq=False)
class OffsetSummary:
    """Offsets (P, 4) and, for each side, (4,) their median, variance and number.

    The variance is that of a normal distribution with the same median absolute deviation.
    """

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
        """Of offsets (P, 4), NaNs left out."""
        median = _median(offsets)
        return cls(offsets, median, (ROBUST * _median((offsets - median).abs())).square(), (~offsets.isnan()).sum(dim=0))

    @property
    def squared_error(self) -> Tensor:
        """Squared standard error of the median."""
        return self.squared_error_if(self.variance)

    def squared_error_if(self, variance: Tensor) -> Tensor:
        """The same if offsets had this variance."""
        return MEDIAN_ERROR * variance / self.count.clamp(min=1)

    def variance_near(self, overall: OffsetSummary, pairs: int) -> Tensor:
        """The variance, as if so many more `pairs` had the overall variance."""
        return (self.count * self.variance + pairs * overall.variance) / (self.count + pairs)


@dataclass(frozen=True, eq=False)
class ClassPairSummaries:
    """Summaries of the offsets of each pair of classes, of K_s of the first and K_t of the second space.

    Of the many pairs of classes of large label spaces few occur; only their offsets are kept apart.

    Attributes:
        occurring: the summary of each pair of classes that occurs.
        median: (K_s, K_t, 4) float32; 0 where no pair occurs.
        variance: (K_s, K_t, 4) float32; 0 where no pair occurs.
        count: (K_s, K_t, 4) int64.
    """

    occurring: dict[tuple[int, int], OffsetSummary]
    median: Tensor
    variance: Tensor
    count: Tensor

    @classmethod
    def of(cls, pairs: BoxPairs, num_first: int, num_second: int) -> Self:
        """Of all pairs, sorted once."""
        shape = (num_first, num_second, 4)
        found = cls({}, torch.zeros(shape), torch.zeros(shape), torch.zeros(shape, dtype=torch.int64))
        keys, order = torch.sort(pairs.first * num_second + pairs.second, stable=True)
        each, counts = torch.unique_consecutive(keys, return_counts=True)
        for key, offsets in zip(each.tolist(), pairs.offsets[order].split(counts.tolist()), strict=True):
            place = divmod(key, num_second)
            found.occurring[place] = one = OffsetSummary.summary(offsets)
            found.median[place], found.variance[place], found.count[place] = one.median, one.variance, one.count
        return found

    @property
    def squared_error(self) -> Tensor:
        """(K_s, K_t, 4) squared standard errors of the medians."""
        return MEDIAN_ERROR * self.variance / self.count.clamp(min=1)


def _matched(first: LabelTable, second: LabelTable) -> tuple[np.ndarray, np.ndarray]:
    """Rows (P,) int64 of two tables, those of the first ascending, that overlap each other most, and by `PAIR_IOU` or more."""
    pairs = overlaps(first, second).touching()
    best, iou = pairs.best()
    rows = np.flatnonzero(iou >= PAIR_IOU)
    rows = rows[pairs.turned(second.num_boxes).best()[0][best[rows]] == rows]
    return rows, best[rows]


def sides_of(boxes_xyxy: Tensor) -> Tensor:
    """(N, 4) width, height, width, height; at least a thousandth of a pixel."""
    return (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clamp(min=1e-3).repeat(1, 2)


def on_border(boxes_xyxy: Tensor, sizes_hw: Tensor) -> Tensor:
    """(N, 4) bool: sides of boxes that lie on the border of their images, of height and width (N, 2)."""
    far = sizes_hw.flip(-1)
    return (boxes_xyxy - torch.cat([torch.zeros_like(far), far], dim=1)).abs() <= BORDER


def _median(offsets: Tensor) -> Tensor:
    """(4,) medians of offsets (P, 4) without NaNs; 0 where there are none."""
    return offsets.nanmedian(dim=0).values.nan_to_num(0.0) if len(offsets) else torch.zeros(4)
