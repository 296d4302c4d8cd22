"""Pairs of boxes of the same image, over all images at once."""

from __future__ import annotations

import numpy as np
import torch
from tables import row, table
from torchvision.ops import box_iou

from lat.labels.overlaps import overlaps

FIRST = table([row(0, 0, (0, 0, 10, 10)), row(0, 0, (50, 50, 60, 60)), row(2, 0, (0, 0, 4, 4))], image_ids=(1, 2, 3))
SECOND = table([row(0, 1, (5, 0, 15, 10)), row(0, 0, (0, 0, 10, 10)), row(1, 0, (0, 0, 9, 9))], image_ids=(1, 2, 3))


def test_all_pairs_of_one_image_and_no_others() -> None:
    pairs = overlaps(FIRST, SECOND)
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    wanted = box_iou(torch.tensor(FIRST.boxes_xyxy[:2]), torch.tensor(SECOND.boxes_xyxy[:2])).flatten()
    np.testing.assert_allclose(pairs.iou, wanted, rtol=1e-6)
    assert pairs.distance[:2].tolist() == [5.0, 0.0]


def test_best_and_highest_of_each_box() -> None:
    pairs = overlaps(FIRST, SECOND)
    best, iou = pairs.best()
    assert best.tolist() == [1, -1, -1]
    assert iou.tolist() == [1.0, 0.0, 0.0]
    same_class = np.where(FIRST.labels[pairs.first] == SECOND.labels[pairs.second], np.nan, pairs.iou)
    np.testing.assert_allclose(pairs.highest(same_class, -7.0), [1 / 3, 0.0, -7.0])


def test_turned_round_they_are_the_pairs_of_the_other_table() -> None:
    turned, wanted = overlaps(FIRST, SECOND).turned(SECOND.num_boxes), overlaps(SECOND, FIRST)
    for column in ("first", "second", "iou", "distance", "count"):
        assert np.array_equal(getattr(turned, column), getattr(wanted, column))


def test_tables_without_boxes() -> None:
    empty = table([], image_ids=(1, 2, 3))
    assert len(overlaps(FIRST, empty).first) == len(overlaps(empty, FIRST).first) == 0
    assert overlaps(FIRST, empty).highest(np.zeros(0), 0.5).tolist() == [0.5] * 3
