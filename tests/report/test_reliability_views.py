"""Reliability diagrams in the report: placed where they belong, escaped, and left out where no truth is known."""

from __future__ import annotations

from typing import Any

import pytest
from test_build import NASTY, Page

from lat.report.build import ReportContent, render_page
from lat.report.reliability_views import LEFT, SIDE, TOP, reliability_views

BINS = [{"score": 0.25, "precision": 0.5, "count": 1}, {"score": 1.0, "precision": 0.75, "count": 3}]
FIGURES = ("precision", "recall", "mean_iou", "f1", "f1_best", "threshold_best", "f1_chosen", "threshold_chosen")


def row(method: str = "label_transfer", **more: Any) -> dict[str, Any]:
    figures = dict.fromkeys(FIGURES, 0.5) | {"ece": 0.25, "reliability": BINS, "ap": 1.0, "ap50": 1.0}
    return {"source": "city", "target": "way", "method": method, **figures, **more}


def test_dots_lie_at_score_and_precision() -> None:
    (view,) = reliability_views([row("pseudo_label"), row(mean_iou=None)])
    low, high = view.dots
    assert (low.x, low.y, low.y_diagonal) == (LEFT + SIDE / 4, TOP + SIDE / 2, TOP + SIDE * 3 / 4)
    assert (high.x, high.y, high.y_diagonal) == (LEFT + SIDE, TOP + SIDE / 4, TOP)
    assert low.sentence == "1 label of mean score 0.25: 50 % right"
    assert view.points == f"{low.x:.1f},{low.y:.1f} {high.x:.1f},{high.y:.1f}"
    assert view.summary.startswith("4 labels in 2 bins of rising score; the expected calibration error is 0.250.")
    assert ("F1 without truth", "0.500 at 0.50") in view.figures
    assert ("mean IoU", "–") in view.figures


@pytest.mark.parametrize("rows", [[], [row("pseudo_label")], [row(reliability=())], [{"method": "label_transfer"}]])
def test_without_labels_to_score_there_is_no_chart(rows: list[dict[str, Any]]) -> None:
    assert reliability_views(rows) == []


def test_the_chart_is_named_and_described_and_escaped() -> None:
    content = ReportContent("t", {}, [], evaluation={"transfer": [row(), row(source=NASTY)]})
    page = Page(render_page(content))
    assert page.all("section", id="confidence")
    charts = [found for found in page.all("svg") if "aria-labelledby" in found]
    assert len(charts) == 2
    ids = [found["id"] for tag in ("title", "desc") for found in page.all(tag) if "id" in found]
    assert sorted(" ".join(chart["aria-labelledby"] for chart in charts).split()) == sorted(ids)
    assert len(page.all("circle", **{"class": "dot"})) == 4
    assert f"Reliability of labels of {NASTY} in way" in page.text
    bare = Page(render_page(ReportContent("t", {}, [], evaluation={"agreement": []})))
    assert not bare.all("section", id="confidence")
