"""Loss curves: the rows of a `log.jsonl` as lines of a small SVG chart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 340.0, 180.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 12.0, 8.0, 24.0
_MOST_POINTS = 120
_NOT_LOSSES = ("step", "learning_rate")


@dataclass(frozen=True)
class Tick:
    """A labelled position on an axis, in units of the chart."""

    position: float
    text: str


@dataclass(frozen=True)
class Line:
    """One loss: its name, its last value and its points in SVG format (`x,y x,y …`)."""

    name: str
    last: str
    points: str


@dataclass(frozen=True)
class Chart:
    """The losses of one model over training steps; the total is the first line."""

    model: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT


def loss_chart(model: str, rows: Sequence[Mapping[str, Any]]) -> Chart | None:
    """The chart of one model, or None if no row has a finite total.

    Args:
        model: name of the model, as shown.
        rows: rows of its log, each with `step`, `total`, `learning_rate` (not drawn) and the losses by their names; rows
            without a finite total are skipped. Long logs are averaged down to 120 points per line.
    """
    rows = [row for row in rows if _is_finite(row.get("total")) and _is_finite(row.get("step"))]
    if not rows:
        return None
    names = dict.fromkeys(["total", *(name for row in rows for name in row if name not in _NOT_LOSSES)])
    series = {name: [(float(row["step"]), float(row[name])) for row in rows if _is_finite(row.get(name))] for name in names}
    last_values = {name: points[-1][1] for name, points in series.items() if points}
    series = {name: _thinned(points) for name, points in series.items() if points}
    x_max = max(step for step, _ in series["total"])
    y_ticks = nice_ticks(max(max(value for _, value in points) for points in series.values()), 4)
    y_max = y_ticks[-1]
    first, last = rows[0]["total"], rows[-1]["total"]
    return Chart(
        model=model,
        lines=tuple(
            Line(
                name,
                f"{last_values[name]:.3g}",
                " ".join(f"{_x(step, x_max):.1f},{_y(value, y_max):.1f}" for step, value in points),
            )
            for name, points in series.items()
        ),
        x_ticks=tuple(Tick(_x(step, x_max), f"{step:,.0f}") for step in nice_ticks(max(x_max, 5), 5) if step <= x_max),
        y_ticks=tuple(Tick(_y(value, y_max), f"{value:g}") for value in y_ticks),
        summary=f"Losses of {model} over {x_max:,.0f} steps: the total goes from {first:.3g} to {last:.3g}",
    )


def nice_ticks(largest: float, count: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, from 0 to the first at or above `largest`, about `count` of them."""
    if largest <= 0:
        return [0.0, 1.0]
    raw = largest / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((factor * power for factor in (1, 2, 5) if factor * power >= raw * (1 - 1e-9)), 10 * power)
    return [float(f"{index * step:.6g}") for index in range(math.ceil(largest / step - 1e-9) + 1)]


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of consecutive runs of points, so that at most 120 remain."""
    run = math.ceil(len(points) / _MOST_POINTS)
    chunks = [points[start : start + run] for start in range(0, len(points), run)]
    return [(sum(x for x, _ in chunk) / len(chunk), sum(y for _, y in chunk) / len(chunk)) for chunk in chunks]


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _x(step: float, x_max: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * step / max(x_max, 1.0)


def _y(value: float, y_max: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * max(value, 0.0) / y_max
