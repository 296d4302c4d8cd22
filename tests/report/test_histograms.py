"""Histograms: bins hold what falls into them."""

from __future__ import annotations

import pytest
from tables import row, table

from lat.report.histograms import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, score_histogram, size_histogram


def heights(points: str, most: float) -> dict[float, float]:
    """The counts of an outline by the left edge of their bin."""
    corners = [tuple(map(float, point.split(","))) for point in points.split()][1:-1]
    scale = (HEIGHT - TOP - BOTTOM) / most
    return {x: (HEIGHT - BOTTOM - y) / scale for x, y in corners[::2] if y < HEIGHT - BOTTOM}


def test_scores_fall_into_twentieths() -> None:
    before = table([row(0, 0, (0, 0, 9, 9), score) for score in (0.01, 0.02, 0.51)])
    after = table([row(0, 0, (0, 0, 9, 9), 1.0)])
    view = score_histogram(before, after)
    width = WIDTH - LEFT - RIGHT
    most = float(view.y_ticks[-1].text)
    assert heights(view.before.points, most) == pytest.approx({LEFT: 2, LEFT + width / 2: 1}, abs=0.02)
    assert heights(view.after.points, most) == pytest.approx({round(LEFT + width * 19 / 20, 1): 1}, abs=0.02)
    assert "(median 0.02)" in view.summary


def test_sizes_are_in_quarters_of_a_doubling() -> None:
    view = size_histogram(table([row(0, 0, (0, 0, 16, 16))]), table([row(0, 0, (0, 0, 64, 64)), row(1, 0, (0, 0, 8, 32))]))
    assert [tick.text for tick in view.x_ticks] == ["16", "32", "64", "128"]
    assert len(heights(view.after.points, float(view.y_ticks[-1].text))) == 2
    assert "median 16" in view.summary


def test_no_boxes() -> None:
    assert "median none" in score_histogram(table([]), table([])).summary
    assert size_histogram(table([]), table([])).x_ticks
