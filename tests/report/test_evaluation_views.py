"""Figures of the evaluation as tables, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from lat.report.evaluation_views import HeatCell, Score, agreement_view, transfer_view, wilson_interval


def row(source: str, target: str, method: str, ap: float | None, **more: Any) -> dict[str, Any]:
    return {
        "source": source,
        "target": target,
        "method": method,
        "ap": ap,
        "ap50": ap,
        "per_class": {},
        "images": 3,
        "boxes": 5,
    } | more


def test_methods_rows_means_and_gain() -> None:
    table = transfer_view(
        [
            row("a", "b", "mine", 50.0),
            row("a", "b", "label_transfer", 80.0, per_class={"car": 90.0, "bus": 70.0}),
            row("a", "b", "pseudo_label", 70.0, per_class={"bus": None}),
            row("b", "a", "label_transfer", 60.0),
            row("b", "a", "pseudo_label", 64.0),
            row("b", "a", "class_names", None),
        ]
    )
    assert table is not None
    assert table.methods == ("class_names", "pseudo_label", "label_transfer", "mine")
    assert table.titles == ("Classes by name", "Pseudo-labels", "Label transfer", "mine")
    assert [(r.source, r.target, r.gain) for r in table.rows] == [("a", "b", 10.0), ("b", "a", -4.0)]
    assert [score.best for score in table.rows[0].scores] == [False, False, True, False]
    assert [(c.name, tuple(score.ap for score in c.scores)) for c in table.rows[0].classes] == [
        ("bus", (None, None, 70.0, None)),
        ("car", (None, None, 90.0, None)),
    ]
    # class_names and mine lack a figure in one row each: their means would not be over the same rows.
    assert [score.ap for score in table.mean] == [None, pytest.approx(67.0), pytest.approx(70.0), None]
    assert table.mean_gain == pytest.approx(3.0)
    assert table.better_rows == 1
    assert table.mean_of("union") is None


def test_margins_of_means_add_up_within_a_source_and_as_squares_between_sources() -> None:
    margins = {"ap_margin": 3.0, "ap50_margin": 1.0, "per_class_margin": {"car": 6.0}}
    mine = row("a", "b", "mine", 50.0, per_class={"car": 40.0, "bus": 60.0}, **margins)
    other = row("b", "a", "mine", 70.0, ap_margin=4.0, ap50_margin=None)
    same_source = row("a", "c", "mine", 70.0, ap_margin=4.0, ap50_margin=1.0)
    table, of_one = transfer_view([mine, other]), transfer_view([mine, same_source])
    assert table is not None
    assert of_one is not None
    assert table.mean == (Score(60.0, 60.0, False, 2.5, None),)  # sqrt(3^2 + 4^2) / 2
    assert of_one.mean == (Score(60.0, 60.0, False, 3.5, 1.0),)  # (3 + 4) / 2
    assert table.score_of("mine").ap_margin == 2.5
    assert table.score_of("another").ap_margin is None
    assert [score.scores for score in table.rows[0].classes] == [(Score(40.0, ap_margin=6.0),), (Score(60.0),)]


def test_no_rows_no_table() -> None:
    assert transfer_view([]) is None


def test_agreement_shares_and_heat() -> None:
    changes = {"vehicle": {"bus": 1, "car": 9}, "cyclist": {}, "person": {"person": 4, "car": 1}}
    table = agreement_view(
        {"source": "way", "target": "city", "kept": 10, "moved": 5, "added": 4, "dropped": 5, "class_changes": changes},
        ("car", "truck", "bus", "person"),
    )
    assert table.counts == ((10, 50.0), (5, 25.0), (4, 20.0), (5, 25.0))  # of 20 source boxes
    assert table.columns == ("car", "bus", "person")  # in the target's order; no box became a truck
    assert table.matrix[0].cells == (HeatCell(9, 5), HeatCell(1, 1), HeatCell(0, 0))  # 0.9 and 0.1 of the row, in fifths
    assert [cell.level for cell in table.matrix[1].cells] == [0, 0, 0]
    assert table.matrix[2].cells == (HeatCell(1, 1), HeatCell(0, 0), HeatCell(4, 4))


def test_agreement_without_boxes() -> None:
    table = agreement_view(
        {"source": "a", "target": "b", "kept": 0, "moved": 0, "added": 2, "dropped": 0, "class_changes": {"car": {}}}
    )
    assert table.counts == ((0, None), (0, None), (2, None), (0, None))
    assert table.matrix == ()


def test_intervals_of_shares_are_wilsons() -> None:
    half = wilson_interval(5, 10)
    assert half == pytest.approx((23.66, 76.34), abs=0.01)  # 50 ± 100 · √(0.25·0.38416 + 0.38416²/4) / 1.38416
    assert wilson_interval(0, 10) == pytest.approx((0, 27.75), abs=0.01)  # 100 · 0.38416 / 1.38416
    assert wilson_interval(10, 10) == pytest.approx((72.25, 100), abs=0.01)
    assert wilson_interval(0, 0) is None
    view = agreement_view({"source": "a", "target": "b", "kept": 5, "moved": 3, "added": 9, "dropped": 2})
    assert view.intervals[0] == half
    assert view.intervals[2] is None  # added labels are no part of the human boxes


def test_methods_of_rounds_are_named_with_their_round() -> None:
    rows = [
        {"source": "a", "target": "b", "method": method, "ap": 1.0, "ap50": 2.0}
        for method in ("union_averaged", "union_averaged_round_2", "label_transfer_round_0", "mine_own")
    ]
    table = transfer_view(rows)
    assert table is not None
    assert table.titles == ("Union, averaged", "Union, averaged, round 2", "Label transfer, round 0", "mine own")
