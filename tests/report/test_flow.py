"""The diagram of classes: every box is in one ribbon, and ribbons are as thick as they have boxes."""

from __future__ import annotations

import re

import pytest
from factories import label_space
from tables import row, table

from lat.report.flow import ADDED, DROPPED, FLOW_HEIGHT, class_flow, flow_view

SOURCE, TARGET = label_space("source", ("cyclist", "car")), label_space("target", ("car", "rider", "bicycle"))
BOX = (0, 0, 10, 10)


def test_every_box_is_counted_once() -> None:
    source = table([row(0, 0, BOX), row(0, 0, BOX), row(0, 1, BOX), row(0, 1, BOX, crowd=True)], (1,), SOURCE)
    transferred = table([row(0, 2, BOX), row(0, 1, BOX), row(0, 0, BOX)], (1,), TARGET)
    counts = class_flow(source, transferred, {"cyclist": {"bicycle": 1}, "car": {"car": 1}})
    assert counts == {("cyclist", "bicycle"): 1, ("cyclist", ""): 1, ("car", "car"): 1, ("", "rider"): 1}


def test_ribbons_are_as_thick_as_they_have_boxes_and_fill_their_bars() -> None:
    view = flow_view({("cyclist", "rider"): 3, ("cyclist", "bicycle"): 1, ("car", ""): 2, ("", "car"): 4})
    assert view is not None
    assert [(node.name, node.count, node.is_end) for node in view.left] == [
        ("cyclist", 4, False),
        ("car", 2, False),
        (ADDED, 4, True),
    ]
    assert [(node.name, node.count) for node in view.right] == [("rider", 3), ("bicycle", 1), ("car", 4), (DROPPED, 2)]
    assert [node.height for node in view.left] == pytest.approx([0.4 * FLOW_HEIGHT, 0.2 * FLOW_HEIGHT, 0.4 * FLOW_HEIGHT])
    thick, first_y = {}, {}
    for ribbon in view.ribbons:
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", ribbon.path)]
        first_y[ribbon.sentence], thick[ribbon.sentence] = numbers[1], numbers[8] - numbers[7]
    assert thick["cyclist to rider: 3 boxes"] == pytest.approx(0.3 * FLOW_HEIGHT, abs=0.02)
    assert first_y["cyclist to bicycle: 1 box"] == pytest.approx(view.left[0].y + 0.3 * FLOW_HEIGHT, abs=0.02)
    assert {ribbon.kind for ribbon in view.ribbons} == {"same", "added", "dropped"}


def test_names_that_look_like_the_ends_are_classes_of_their_own() -> None:
    view = flow_view({(ADDED, DROPPED): 1, (ADDED, ""): 1, ("", DROPPED): 1})
    assert view is not None
    assert [(node.name, node.is_end) for node in view.left] == [(ADDED, False), (ADDED, True)]


def test_no_boxes_no_diagram() -> None:
    assert flow_view({}) is None
