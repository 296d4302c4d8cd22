"""Find the overlapping boxes of two tables, over all images at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lat.labels.table import LabelTable


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Every pair of boxes of two tables in the same image; pairs of one box are adjacent.

    Attributes:
        first: (P,) int64 rows of the first table, ascending.
        second: (P,) int64 rows of the second table.
        iou: (P,) float64.
        distance: (P,) float64, pixels between the centres.
        count: number of boxes of the first table.
    """

    first: np.ndarray
    second: np.ndarray
    iou: np.ndarray
    distance: np.ndarray
    count: int

    def highest(self, values: np.ndarray, default: float) -> np.ndarray:
        """The highest of `values` (P,) for each box of the first table, (count,) float64, ignoring NaN.

        Boxes without values get the default.
        """
        best = np.full(self.count, -np.inf)
        known = ~np.isnan(values)
        np.maximum.at(best, self.first[known], values[known])
        return np.where(np.isneginf(best), default, best)

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """For each box of the first table, the row of the second that it overlaps most, -1 for none, and their IoU."""
        touching = np.flatnonzero(self.iou)  # few of all pairs
        order = touching[np.lexsort((-self.second[touching], self.iou[touching]))]
        row, iou = np.full(self.count, -1), np.zeros(self.count)
        row[self.first[order]], iou[self.first[order]] = self.second[order], self.iou[order]
        return np.where(iou > 0, row, -1), iou

    def touching(self) -> Overlaps:
        """Only the pairs that overlap at all: of these, `best` finds the same."""
        rows = np.flatnonzero(self.iou)
        return Overlaps(self.first[rows], self.second[rows], self.iou[rows], self.distance[rows], self.count)

    def turned(self, count: int) -> Overlaps:
        """The same pairs seen from the second table, which has `count` boxes."""
        order = np.argsort(self.second, kind="stable")
        return Overlaps(self.second[order], self.first[order], self.iou[order], self.distance[order], count)


def overlaps(first: LabelTable, second: LabelTable) -> Overlaps:
    """All pairs of boxes of the same image. Both tables have the same images in the same order."""
    assert first.image_ids.tolist() == second.image_ids.tolist(), "tables of the same images"
    rows, others = pairs_of_one_image(first.offsets, second.offsets)
    a, b = first.boxes_xyxy[rows].astype(np.float64), second.boxes_xyxy[others].astype(np.float64)
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    area_a, area_b = ((one[:, 2:] - one[:, :2]).prod(axis=1) for one in (a, b))
    distance = np.linalg.norm((a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2, axis=1)
    return Overlaps(rows, others, shared / (area_a + area_b - shared), distance, first.num_boxes)


def pairs_of_one_image(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of a row of one table and a row of another in the same image, from the offsets (I + 1,) of both.

    Returns:
        Rows (P,) int64 of the first table, ascending, and rows (P,) int64 of the second, ascending for each row of the first.
    """
    num_second = np.diff(second)
    repeats = np.repeat(num_second, np.diff(first))  # of each row of the first table
    rows = np.repeat(np.arange(first[-1]), repeats)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return rows, np.repeat(np.repeat(second[:-1], np.diff(first)), repeats) + within
