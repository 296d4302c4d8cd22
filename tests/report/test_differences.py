"""Marks of transferred boxes: numbers by hand, and agreement with the evaluation's own counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from factories import label_space
from tables import Row, row, table

from lat.core.label_space import LabelSpace
from lat.evaluation.transfer_quality import agreement
from lat.labels.table import LabelTable
from lat.report.differences import Mark, find_differences

CITY = label_space("city", ("car", "person"))
WAY = label_space("way", ("vehicle", "pedestrian", "cyclist"))


def boxes(rows: list[Row], space: LabelSpace, images: int = 1) -> LabelTable:
    return table(rows, range(1, images + 1), space)


def random_boxes(space: LabelSpace, counts: list[int], random: np.random.Generator) -> LabelTable:
    corners = 20 * random.random((sum(counts), 2))
    sides = 5 + 15 * random.random((sum(counts), 2))
    images = np.repeat(np.arange(len(counts)), counts).tolist()
    labels = random.integers(len(space), size=sum(counts)).tolist()
    rows = [row(*each) for each in zip(images, labels, np.concatenate([corners, corners + sides], axis=1).tolist(), strict=True)]
    crowds = (random.random(sum(counts)) < 0.2) & (space == CITY)
    return replace(boxes(rows, space, len(counts)), is_crowd=crowds)


def test_one_box_of_each_kind() -> None:
    source = boxes([row(0, 0, [0, 0, 10, 10]), row(0, 0, [20, 0, 30, 10]), row(0, 1, [40, 0, 50, 10])], CITY)
    pseudo = boxes([row(0, 2, [20, 0, 30, 10], 0.5)], WAY)
    # IoU with the source boxes: 1 (kept); 8 x 10 of 10 x 10 pixels = 0.8 (moved); 0 (added). Nothing is left for the third.
    transferred = boxes([row(0, 0, [0, 0, 10, 10]), row(0, 1, [20, 0, 28, 10]), row(0, 0, [0, 30, 10, 40])], WAY)
    (found,) = find_differences(source, pseudo, transferred)
    assert found.marks == (Mark.KEPT, Mark.MOVED, Mark.ADDED)
    assert found.source_rows == (0, 1, -1)
    assert found.dropped == (2,)
    assert found.previous_classes == ("", "cyclist", "")  # the pseudo-label was a cyclist, the transferred box is a pedestrian
    assert found.counts() == {"kept": 1, "moved": 1, "added": 1, "dropped": 1, "changed": 1}
    assert len(found) == 4


def test_crowds_are_neither_matched_nor_dropped() -> None:
    source = boxes([row(0, 0, [0, 0, 10, 10], 1.0, True), row(0, 0, [20, 0, 30, 10]), row(0, 0, [40, 0, 50, 10])], CITY)
    transferred = boxes([row(0, 0, [0, 0, 10, 10]), row(0, 0, [20, 0, 30, 10])], WAY)
    (found,) = find_differences(source, boxes([], WAY), transferred)
    assert found.marks == (Mark.ADDED, Mark.KEPT)
    assert found.source_rows == (-1, 1)  # rows of all source boxes, the crowd among them
    assert found.dropped == (2,)


def test_rows_are_those_of_the_image() -> None:
    source = boxes([row(0, 0, [0, 0, 10, 10]), row(1, 0, [0, 0, 10, 10]), row(1, 0, [20, 0, 30, 10])], CITY, 2)
    transferred = boxes([row(1, 0, [20, 0, 30, 10])], WAY, 2)
    found = find_differences(source, boxes([row(1, 1, [20, 0, 30, 10])], WAY, 2), transferred)
    assert [one.dropped for one in found] == [(0,), (0,)]
    assert [one.source_rows for one in found] == [(), (1,)]
    assert [one.previous_classes for one in found] == [(), ("pedestrian",)]


def test_counts_are_those_of_the_evaluation() -> None:
    random = np.random.default_rng(0)
    counts = list(range(12))
    source, transferred = random_boxes(CITY, counts, random), random_boxes(WAY, counts[::-1], random)
    found = find_differences(source, random_boxes(WAY, [3] * 12, random), transferred)
    figures = agreement(source, transferred).to_dict()
    assert min(figures["moved"], figures["dropped"]) > 0
    for name in ("kept", "moved", "added", "dropped"):
        assert sum(one.counts()[name] for one in found) == figures[name]


def test_no_boxes_no_differences() -> None:
    (found,) = find_differences(boxes([], CITY), boxes([], WAY), boxes([], WAY))
    assert len(found) == 0
