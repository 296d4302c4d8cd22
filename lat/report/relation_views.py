"""Relations between the classes of two label spaces as a bipartite graph, a heat map, and rows with example crops."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lat.report.crops import STRIP_HEIGHT, STRIP_WIDTH

ROW, CELL, LABEL, HEAD, WIDTH, MARGIN = 24.0, 24.0, 104.0, 84.0, 340.0, 14.0


@dataclass(frozen=True)
class Node:
    """A class at a height in its column; `stands_alone` if it has no relation."""

    name: str
    y: float
    stands_alone: bool


@dataclass(frozen=True)
class Edge:
    """A relation: heights of its two ends, its certainty (0.15 to 1), and a tooltip."""

    y_first: float
    y_second: float
    opacity: float
    sentence: str


@dataclass(frozen=True)
class Cell:
    """One pair of classes in the heat map."""

    x: float
    y: float
    opacity: float
    sentence: str


@dataclass(frozen=True)
class ClassPictures:
    """Example crops of one class: the id of the page's strip, "" for none, and an alternative text."""

    name: str
    strip: str
    alt: str
    view_box: str = f"0 0 {STRIP_WIDTH} {STRIP_HEIGHT}"


@dataclass(frozen=True)
class RelationRow:
    """A relation, or a standalone class (the other side is None), with pictures to judge it by."""

    first: ClassPictures | None
    kind: str
    second: ClassPictures | None
    score: str


@dataclass(frozen=True)
class RelationView:
    """Two label spaces and their relations, in units of the two drawings."""

    first: str
    second: str
    first_nodes: tuple[Node, ...]
    second_nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    cells: tuple[Cell, ...]
    columns: tuple[Node, ...]
    rows: tuple[RelationRow, ...]
    graph_height: float
    row: float = ROW
    cell: float = CELL
    label: float = LABEL
    head: float = HEAD
    width: float = WIDTH

    @property
    def heat_width(self) -> float:
        return max(WIDTH, LABEL + CELL * len(self.columns) + 3 * MARGIN)

    @property
    def heat_height(self) -> float:
        return HEAD + CELL * len(self.first_nodes) + MARGIN


def relation_view(content: Mapping[str, Any], strips: Collection[tuple[str, str]] = ()) -> RelationView:
    """Arrange the content of one `relations/A.B.json`.

    Scores are the larger of the two shares of a pair, as `RelationMatrix.scores`.

    Args:
        content: the file.
        strips: the (label space, class) pairs with example crops in the page.
    """
    names = {side: [str(one["name"]) for one in content[side]["categories"]] for side in ("first", "second")}
    forward, backward = content["first_to_second"], content["second_to_first"]
    relations = content["relations"]
    nodes = {side: _nodes(names[side], {one[side] for one in relations}) for side in names}
    cells = []
    for i, a in enumerate(names["first"]):
        for j, b in enumerate(names["second"]):
            score = max(forward[i][j], backward[j][i])
            cells.append(Cell(LABEL + CELL * j, HEAD + CELL * i, round(score, 3), f"{a} and {b}: {score:.2f}"))
    height = {side: {node.name: node.y for node in nodes[side]} for side in nodes}
    return RelationView(
        first=str(content["first"]["name"]),
        second=str(content["second"]["name"]),
        first_nodes=nodes["first"],
        second_nodes=nodes["second"],
        edges=tuple(_edge(one, height["first"], height["second"]) for one in relations),
        cells=tuple(cells),
        columns=tuple(Node(name, LABEL + CELL * (j + 0.5), False) for j, name in enumerate(names["second"])),
        rows=_rows(content, nodes, strips),
        graph_height=ROW * max(map(len, names.values())) + 2 * MARGIN,
    )


def strip_id(space: str, class_name: str, names: Sequence[str]) -> str:
    """The id of a class's strip in the page; `names` are the classes of its space."""
    return f"crops-{space}-{names.index(class_name)}"


def _rows(
    content: Mapping[str, Any], nodes: Mapping[str, Sequence[Node]], strips: Collection[tuple[str, str]]
) -> tuple[RelationRow, ...]:
    """Relations, surest first, then the standalone classes."""

    def pictures(side: str, name: str) -> ClassPictures:
        space = str(content[side]["name"])
        names = [node.name for node in nodes[side]]
        has_strip = (space, name) in strips
        return ClassPictures(name, strip_id(space, name, names) if has_strip else "", f"Example crops of {name} in {space}")

    found = sorted(content["relations"], key=lambda one: -one["score"])
    rows = [
        RelationRow(pictures("first", one["first"]), one["relation"], pictures("second", one["second"]), f"{one['score']:.2f}")
        for one in found
    ]
    for i, node in enumerate(nodes["first"]):
        if node.stands_alone:
            share = f"{content['first_to_second'][i][-1]:.2f}"
            rows.append(RelationRow(pictures("first", node.name), "stands alone", None, share))
    for j, node in enumerate(nodes["second"]):
        if node.stands_alone:
            share = f"{content['second_to_first'][j][-1]:.2f}"
            rows.append(RelationRow(None, "stands alone", pictures("second", node.name), share))
    return tuple(rows)


_PREPOSITION = {"narrower": "than", "broader": "than", "overlapping": "with"}


def _edge(relation: Mapping[str, Any], first_y: Mapping[str, float], second_y: Mapping[str, float]) -> Edge:
    first, kind, second, score = (relation[name] for name in ("first", "relation", "second", "score"))
    sentence = f"{first} is {kind} {_PREPOSITION.get(kind, 'to')} {second}: {score:.2f}"
    return Edge(first_y[first], second_y[second], round(0.15 + 0.85 * score, 3), sentence)


def _nodes(names: list[str], related: set[str]) -> tuple[Node, ...]:
    return tuple(Node(name, MARGIN + ROW * (i + 0.5), name not in related) for i, name in enumerate(names))
