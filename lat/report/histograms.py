"""Scores and box sizes before and after, as two outlines in one small SVG chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lat.labels.table import LabelTable
from lat.report.curves import Tick, nice_ticks

WIDTH, HEIGHT = 340.0, 170.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 8.0, 24.0
SCORE_BINS = 20


@dataclass(frozen=True)
class Outline:
    """One of the two distributions: its name and its outline as SVG points."""

    name: str
    points: str


@dataclass(frozen=True)
class Histogram:
    """Counts in the same bins before and after."""

    title: str
    before: Outline
    after: Outline
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT


def score_histogram(pseudo: LabelTable, transferred: LabelTable) -> Histogram:
    """Scores of the pseudo-labels and of the transferred labels, in twenty bins from 0 to 1."""
    edges = np.linspace(0, 1, SCORE_BINS + 1)
    ticks = [(share, f"{share:g}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    names = ("pseudo-labels", "transferred labels")
    medians = [_median(table.scores) for table in (pseudo, transferred)]
    summary = f"Scores of {names[0]} (median {medians[0]}) and of {names[1]} (median {medians[1]})"
    return _histogram("Scores", names, (pseudo.scores, transferred.scores), edges, ticks, summary)


def size_histogram(source: LabelTable, transferred: LabelTable) -> Histogram:
    """Sizes (square root of the area, in pixels) of human boxes and of transferred boxes, four bins per doubling."""
    sizes = [np.sqrt((one.boxes_xyxy[:, 2:] - one.boxes_xyxy[:, :2]).prod(axis=1)) for one in (source, transferred)]
    logs = [np.log2(np.maximum(one, 1)) for one in sizes]
    both = np.concatenate(logs)
    low, high = (np.floor(both.min()), np.ceil(both.max() + 1e-6)) if len(both) else (0.0, 1.0)
    high = max(high, low + 1)
    edges = np.linspace(low, high, int(high - low) * 4 + 1)
    ticks = [(float(power), f"{2**power:g}") for power in range(int(low), int(high) + 1)]
    names = ("human boxes", "transferred boxes")
    summary = f"Sizes in pixels of {names[0]} (median {_median(sizes[0], 0)}) and of {names[1]} (median {_median(sizes[1], 0)})"
    return _histogram("Box sizes in pixels", names, (logs[0], logs[1]), edges, ticks, summary)


def _histogram(
    title: str,
    names: tuple[str, str],
    values: tuple[np.ndarray, np.ndarray],
    edges: np.ndarray,
    ticks: Sequence[tuple[float, str]],
    summary: str,
) -> Histogram:
    counts = [np.histogram(np.clip(one, edges[0], edges[-1]), edges)[0] for one in values]
    y_ticks = nice_ticks(float(max(count.max() for count in counts)), 3)
    x = LEFT + (WIDTH - LEFT - RIGHT) * (edges - edges[0]) / (edges[-1] - edges[0])
    place = {value: LEFT + (WIDTH - LEFT - RIGHT) * (value - edges[0]) / (edges[-1] - edges[0]) for value, _ in ticks}
    return Histogram(
        title,
        Outline(names[0], _outline(x, counts[0], y_ticks[-1])),
        Outline(names[1], _outline(x, counts[1], y_ticks[-1])),
        tuple(Tick(round(float(place[value]), 1), text) for value, text in ticks),
        tuple(Tick(round(_y(value, y_ticks[-1]), 1), f"{value:,g}") for value in y_ticks),
        summary,
    )


def _outline(x: np.ndarray, counts: np.ndarray, y_max: float) -> str:
    corners = [(x[0], 0.0)]
    for left, right, count in zip(x[:-1], x[1:], counts, strict=True):
        corners += [(left, count), (right, count)]
    corners.append((x[-1], 0.0))
    return " ".join(f"{x:.1f},{_y(float(count), y_max):.1f}" for x, count in corners)


def _y(count: float, y_max: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * count / y_max


def _median(values: np.ndarray, decimals: int = 2) -> str:
    return f"{float(np.median(values)):.{decimals}f}" if len(values) else "none"
