"""The class flow diagram: the boxes of a source as ribbons from its classes to the target's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lat.labels.table import LabelTable

WIDTH, LABEL, BAR, GAP, MARGIN = 560.0, 150.0, 10.0, 6.0, 6.0
LEAST_SLOT = 16.0  # per class, so that its name has room
FLOW_HEIGHT = 220.0  # all boxes together
ADDED, DROPPED = "new here", "dropped"


@dataclass(frozen=True)
class FlowNode:
    """A class as a bar: name, number of boxes and position; `is_end` marks the bars of dropped and of new boxes."""

    name: str
    count: int
    y: float
    height: float
    is_end: bool


@dataclass(frozen=True)
class Ribbon:
    """Boxes of one class that became another, as an SVG path; `kind` is same, added or dropped."""

    path: str
    sentence: str
    kind: str


@dataclass(frozen=True)
class FlowView:
    """The diagram, in units of the drawing."""

    left: tuple[FlowNode, ...]
    right: tuple[FlowNode, ...]
    ribbons: tuple[Ribbon, ...]
    height: float
    width: float = WIDTH
    label: float = LABEL
    bar: float = BAR


Counts = dict[tuple[str, str], int]


def class_flow(source: LabelTable, transferred: LabelTable, changes: Mapping[str, Mapping[str, int]]) -> Counts:
    """Number of boxes from each source class to each target class; "" on one side for dropped and new boxes.

    Args:
        source, transferred: the labels of the same images.
        changes: matched boxes as {source class: {target class: count}}, as `agreement` counts them.
    """
    drawn = np.bincount(source.labels[~source.is_crowd], minlength=len(source.space)).tolist()
    written = np.bincount(transferred.labels, minlength=len(transferred.space)).tolist()
    counts: Counts = {}
    for first, total in zip(source.space.class_names, drawn, strict=True):
        row = changes.get(first, {})
        counts |= {(first, second): row.get(second, 0) for second in transferred.space.class_names}
        counts[first, ""] = total - sum(row.values())
    for second, total in zip(transferred.space.class_names, written, strict=True):
        counts["", second] = total - sum(row.get(second, 0) for row in changes.values())
    return {pair: count for pair, count in counts.items() if count > 0}


def flow_view(counts: Counts) -> FlowView | None:
    """Place bars and ribbons in class order; None without boxes."""
    if not counts:
        return None
    scale = FLOW_HEIGHT / sum(counts.values())
    sides = [_nodes(counts, side, scale) for side in (0, 1)]
    free = [{name: node.y for name, node in nodes.items()} for nodes in sides]  # start of a bar's next ribbon
    places = [list(nodes) for nodes in sides]
    ribbons = []
    for first, second in sorted(counts, key=lambda pair: (places[0].index(pair[0]), places[1].index(pair[1]))):
        count, thick = counts[first, second], counts[first, second] * scale
        path = _ribbon(free[0][first], free[1][second], thick)
        free[0][first], free[1][second] = free[0][first] + thick, free[1][second] + thick
        kind = "added" if not first else "dropped" if not second else "same"
        sentence = f"{first or ADDED} to {second or DROPPED}: {count} {'box' if count == 1 else 'boxes'}"
        ribbons.append(Ribbon(path, sentence, kind))
    height = max(node.y + max(node.height, LEAST_SLOT) for nodes in sides for node in nodes.values()) + MARGIN
    left, right = (tuple(nodes.values()) for nodes in sides)
    return FlowView(left, right, tuple(ribbons), round(height, 1))


def _nodes(counts: Counts, side: int, scale: float) -> dict[str, FlowNode]:
    """The bars of one side by class name, that of "" last."""
    totals: dict[str, int] = {}
    for pair, count in counts.items():
        totals[pair[side]] = totals.get(pair[side], 0) + count
    if "" in totals:
        totals[""] = totals.pop("")
    nodes, y = {}, MARGIN
    for name, count in totals.items():
        nodes[name] = FlowNode(name or (ADDED, DROPPED)[side], count, round(y, 2), round(count * scale, 2), not name)
        y += max(count * scale, LEAST_SLOT) + GAP
    return nodes


def _ribbon(y_left: float, y_right: float, thick: float) -> str:
    x1, x2 = LABEL + BAR, WIDTH - LABEL - BAR
    middle = (x1 + x2) / 2
    top = f"M{x1:.1f} {y_left:.2f}C{middle:.1f} {y_left:.2f} {middle:.1f} {y_right:.2f} {x2:.1f} {y_right:.2f}"
    low_left, low_right = y_left + max(thick, 0.6), y_right + max(thick, 0.6)
    return f"{top}V{low_right:.2f}C{middle:.1f} {low_right:.2f} {middle:.1f} {low_left:.2f} {x1:.1f} {low_left:.2f}Z"
