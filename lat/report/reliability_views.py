"""Reliability diagrams: how often labels are right, by their score, as small SVG charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SIDE, LEFT, RIGHT, TOP, BOTTOM = 240.0, 50.0, 12.0, 8.0, 38.0
METHOD = "label_transfer"


@dataclass(frozen=True)
class Dot:
    """A bin of labels: its position (its distance from the diagonal is its error), and a tooltip."""

    x: float
    y: float
    y_diagonal: float
    sentence: str


@dataclass(frozen=True)
class ReliabilityView:
    """The labels of one transfer, with their figures by name; `summary` describes the chart in a sentence."""

    source: str
    target: str
    dots: tuple[Dot, ...]
    figures: tuple[tuple[str, str], ...]
    summary: str
    left: float = LEFT
    right: float = LEFT + SIDE
    top: float = TOP
    bottom: float = TOP + SIDE
    width: float = LEFT + SIDE + RIGHT
    height: float = TOP + SIDE + BOTTOM

    @property
    def points(self) -> str:
        """The dots as SVG points (`x,y x,y …`)."""
        return " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in self.dots)

    @property
    def ticks(self) -> tuple[tuple[float, float, str], ...]:
        """Horizontal and vertical positions of the tick marks of both axes, and their text."""
        return tuple((_x(share), _y(share), f"{share:g}") for share in (0.0, 0.25, 0.5, 0.75, 1.0))


def reliability_views(rows: Sequence[Mapping[str, Any]]) -> list[ReliabilityView]:
    """One chart for each `transfer` row of label transfer that has labels to show."""
    return [_view(row) for row in rows if row["method"] == METHOD and row.get("reliability")]


def _view(row: Mapping[str, Any]) -> ReliabilityView:
    dots = []
    for one in row["reliability"]:
        score, precision, count = one["score"], one["precision"], one["count"]
        what = f"{count} labels" if count != 1 else "1 label"
        dots.append(Dot(_x(score), _y(precision), _y(score), f"{what} of mean score {score:.2f}: {100 * precision:.0f} % right"))
    count = sum(one["count"] for one in row["reliability"])
    worst = max(row["reliability"], key=lambda one: abs(one["precision"] - one["score"]))
    summary = (
        f"{count} labels in {len(dots)} bins of rising score; the expected calibration error is {row['ece']:.3f}. Farthest from "
        f"the diagonal: mean score {worst['score']:.2f}, where {100 * worst['precision']:.0f} % are right."
    )
    names = {"ece": "ECE", "precision": "precision", "recall": "recall", "mean_iou": "mean IoU", "f1": "F1"}
    figures = [(name, _figure(row[key])) for key, name in names.items()]
    figures.append(("F1 without truth", f"{_figure(row['f1_chosen'])} at {row['threshold_chosen']:.2f}"))
    figures.append(("best F1", f"{_figure(row['f1_best'])} at {row['threshold_best']:.2f}"))
    return ReliabilityView(str(row["source"]), str(row["target"]), tuple(dots), tuple(figures), summary)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _x(share: float) -> float:
    return LEFT + SIDE * share


def _y(share: float) -> float:
    return TOP + SIDE * (1 - share)
