"""Marks of transferred boxes: numbers by hand, and agreement with the evaluation's own counts."""

from __future__ import annotations

import torch
from factories import label_space, labeled_boxes

from lat.core.structures import LabeledBoxes
from lat.evaluation.transfer_quality import agreement
from lat.report.differences import Mark, find_differences

CITY = label_space("city", ("car", "person"))
WAY = label_space("way", ("vehicle", "pedestrian", "cyclist"))


def random_boxes(space: str, count: int, generator: torch.Generator) -> LabeledBoxes:
    corners = 20 * torch.rand(count, 2, generator=generator)
    boxes_xyxy = torch.cat([corners, corners + 5 + 15 * torch.rand(count, 2, generator=generator)], dim=1)
    chosen = {"city": CITY, "way": WAY}[space]
    labels = torch.randint(len(chosen), (count,), generator=generator)
    weights = (torch.rand(count, generator=generator) > 0.2).float() if space == "city" else torch.ones(count)
    return LabeledBoxes(boxes_xyxy, labels, chosen, weights=weights)


def test_one_box_of_each_kind() -> None:
    source = labeled_boxes(CITY, [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], [0, 0, 1])
    pseudo = labeled_boxes(WAY, [[20, 0, 30, 10]], [2], scores=[0.5])
    # IoU with the source boxes: 1 (kept); 8 x 10 of 10 x 10 pixels = 0.8 (moved); 0 (added). Nothing is left for the third.
    transferred = labeled_boxes(WAY, [[0, 0, 10, 10], [20, 0, 28, 10], [0, 30, 10, 40]], [0, 1, 0])
    found = find_differences(source, pseudo, transferred)
    assert found.marks == (Mark.KEPT, Mark.MOVED, Mark.ADDED)
    assert found.source_rows == (0, 1, -1)
    assert found.dropped == (2,)
    assert found.previous_classes == ("", "cyclist", "")  # the pseudo-label was a cyclist, the transferred box is a pedestrian
    assert found.counts() == {"kept": 1, "moved": 1, "added": 1, "dropped": 1, "changed": 1}
    assert len(found) == 4


def test_crowds_are_neither_matched_nor_dropped() -> None:
    source = labeled_boxes(CITY, [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], weights=[0, 1, 1])
    transferred = labeled_boxes(WAY, [[0, 0, 10, 10], [20, 0, 30, 10]])
    found = find_differences(source, LabeledBoxes.empty(WAY), transferred)
    assert found.marks == (Mark.ADDED, Mark.KEPT)
    assert found.source_rows == (-1, 1)  # rows of all source boxes, the crowd among them
    assert found.dropped == (2,)


def test_counts_are_those_of_the_evaluation() -> None:
    generator = torch.Generator().manual_seed(0)
    for count in range(12):
        source, transferred = random_boxes("city", count, generator), random_boxes("way", 11 - count, generator)
        figures = agreement([source], [transferred]).to_dict()
        counts = find_differences(source, random_boxes("way", 3, generator), transferred).counts()
        assert {name: counts[name] for name in ("kept", "moved", "added", "dropped")} == {
            name: figures[name] for name in counts if name != "changed"
        }


def test_no_boxes_no_differences() -> None:
    assert len(find_differences(LabeledBoxes.empty(CITY), LabeledBoxes.empty(WAY), LabeledBoxes.empty(WAY))) == 0
