"""Loss charts: axes by hand, and what a log may hold."""

from __future__ import annotations

import math

import pytest

from lat.report.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, loss_chart, nice_ticks


@pytest.mark.parametrize(
    ("largest", "expected"),
    [(3.7, [0, 1, 2, 3, 4]), (4.0, [0, 1, 2, 3, 4]), (0.07, [0, 0.02, 0.04, 0.06, 0.08]), (900, [0, 500, 1000]), (0, [0, 1])],
)
def test_nice_ticks(largest: float, expected: list[float]) -> None:
    assert nice_ticks(largest, 4) == expected


def test_points_lie_where_the_axes_say() -> None:
    rows = [
        {"step": 0, "learning_rate": 9.0, "box": 1.0, "total": 4.0},
        {"step": 100, "learning_rate": 9.0, "box": 0.0, "total": 2.0},
    ]
    chart = loss_chart("upstream city", rows)
    assert chart is not None
    top, bottom, right = TOP, HEIGHT - BOTTOM, WIDTH - RIGHT
    assert [line.name for line in chart.lines] == ["total", "box"]
    assert (
        chart.lines[0].points == f"{LEFT:.1f},{top:.1f} {right:.1f},{(top + bottom) / 2:.1f}"
    )  # 4 is the top tick, 2 half of it
    assert chart.lines[1].last == "0"
    assert chart.y_ticks[-1].text == "4"


def test_long_logs_are_averaged() -> None:
    chart = loss_chart("m", [{"step": step, "total": 1.0 + step % 2} for step in range(1000)])
    assert chart is not None
    # 1000 points in runs of nine make 112; the last run is step 999 alone, and the last value is its own.
    assert len(chart.lines[0].points.split()) == 112
    assert chart.lines[0].points.endswith(f" {WIDTH - RIGHT:.1f},{TOP:.1f}")
    assert chart.lines[0].last == "2"


def test_rows_without_a_finite_total_are_passed_over() -> None:
    assert loss_chart("m", []) is None
    assert loss_chart("m", [{"step": 1, "total": math.nan}, {"step": 2}, {"step": 3, "total": None}]) is None
    chart = loss_chart("m", [{"step": 1, "total": 2.0, "box": math.inf}, {"step": 2, "remark": "x"}])
    assert chart is not None
    assert [line.name for line in chart.lines] == ["total"]
