"""Arrange the figures of `evaluation.json` as tables of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lat.evaluation.ap_margins import margin_of_mean
from lat.evaluation.side_shifts import WITHIN_95

SHOWN_METHODS = {
    "class_names": "Classes by name",
    "pseudo_label": "Pseudo-labels",
    "union": "Union",
    "union_averaged": "Union, averaged",
    "label_transfer": "Label transfer",
}
AGREEMENT_COUNTS = ("kept", "moved", "added", "dropped")
OURS, BASELINE = "label_transfer", "pseudo_label"
EvaluationRow = Mapping[str, Any]


@dataclass(frozen=True)
class Score:
    """AP and AP50 of one method in one row with their margins, None if undefined; `best` marks the row's highest AP."""

    ap: float | None
    ap50: float | None = None
    best: bool = False
    ap_margin: float | None = None
    ap50_margin: float | None = None


@dataclass(frozen=True)
class ClassScores:
    """AP of one class under each method, in the order of the table's columns."""

    name: str
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class TransferRow:
    """One source and target: a score per method, in all and per class."""

    source: str
    target: str
    scores: tuple[Score, ...]
    gain: float | None
    classes: tuple[ClassScores, ...]
    images: int | None


@dataclass(frozen=True)
class TransferView:
    """Transfer AP of every source, target and method; `gain` is label transfer minus pseudo-labels."""

    methods: tuple[str, ...]
    titles: tuple[str, ...]
    rows: tuple[TransferRow, ...]
    mean: tuple[Score, ...]
    mean_gain: float | None

    @property
    def better_rows(self) -> int:
        """Number of rows in which label transfer beats pseudo-labels."""
        return sum(row.gain is not None and row.gain > 0 for row in self.rows)

    def mean_of(self, method: str) -> float | None:
        """Mean AP of a method over all rows, None if it has none."""
        return self.score_of(method).ap

    def score_of(self, method: str) -> Score:
        """The mean of a method over all rows."""
        return self.mean[self.methods.index(method)] if method in self.methods else Score(None)


def transfer_view(rows: Sequence[EvaluationRow]) -> TransferView | None:
    """Arrange the `transfer` rows; None if there are none.

    Methods are in the order of `SHOWN_METHODS`, then others as they come. A method gets a mean only if it has a figure
    in every row: means over different rows are not comparable.
    """
    if not rows:
        return None
    known = [method for method in SHOWN_METHODS if any(row["method"] == method for row in rows)]
    methods = tuple(dict.fromkeys([*known, *(str(row["method"]) for row in rows)]))
    pairs = list(dict.fromkeys((str(row["source"]), str(row["target"])) for row in rows))
    table = [_transfer_row(pair, methods, rows) for pair in pairs]
    mean = [_mean_score([row.source for row in table], [row.scores[i] for row in table]) for i in range(len(methods))]
    return TransferView(
        methods=methods,
        titles=tuple(map(_title, methods)),
        rows=tuple(table),
        mean=_mark_best(mean),
        mean_gain=_gain(methods, mean),
    )


def _title(method: str) -> str:
    """A method in words; those of a round have the number of it in their name."""
    name, _, number = method.partition("_round_")
    return SHOWN_METHODS.get(name, name.replace("_", " ")) + (f", round {number}" if number else "")


def _transfer_row(pair: tuple[str, str], methods: Sequence[str], rows: Sequence[EvaluationRow]) -> TransferRow:
    by_method = {str(row["method"]): row for row in rows if (row["source"], row["target"]) == pair}
    found = [by_method.get(method, {}) for method in methods]
    scores = [Score(row.get("ap"), row.get("ap50"), False, row.get("ap_margin"), row.get("ap50_margin")) for row in found]
    names = dict.fromkeys(str(name) for row in found for name in row.get("per_class") or {})
    classes = [ClassScores(name, tuple(_class_score(row, name) for row in found)) for name in names]
    images = next((int(row["images"]) for row in found if row.get("images") is not None), None)
    return TransferRow(*pair, _mark_best(scores), _gain(methods, scores), tuple(classes), images)


def _gain(methods: Sequence[str], scores: Sequence[Score]) -> float | None:
    by_method = dict(zip(methods, (score.ap for score in scores), strict=True))
    ours, baseline = by_method.get(OURS), by_method.get(BASELINE)
    return None if ours is None or baseline is None else ours - baseline


def _class_score(row: EvaluationRow, name: str) -> Score:
    ap, margin = ((row.get(key) or {}).get(name) for key in ("per_class", "per_class_margin"))
    return Score(ap, ap_margin=margin)


def _mean_score(sources: Sequence[str], scores: Sequence[Score]) -> Score:
    """The mean of a method over rows, whose sources are given."""
    ap, ap50 = _mean([score.ap for score in scores]), _mean([score.ap50 for score in scores])
    margin = margin_of_mean(zip(sources, (score.ap_margin for score in scores), strict=True))
    margin50 = margin_of_mean(zip(sources, (score.ap50_margin for score in scores), strict=True))
    return Score(ap, ap50, False, None if ap is None else margin, None if ap50 is None else margin50)


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined and len(defined) == len(values) else None


def _mark_best(scores: Sequence[Score]) -> tuple[Score, ...]:
    best = max((score.ap for score in scores if score.ap is not None), default=None)
    alone = len(scores) > 1 and best is not None
    return tuple(replace(score, best=alone and score.ap == best) for score in scores)


@dataclass(frozen=True)
class HeatCell:
    """A count, and its share of its row in fifths, rounded up: 0 (none) to 5."""

    count: int
    level: int


@dataclass(frozen=True)
class HeatRow:
    """One source class: the number of its boxes that became each target class."""

    name: str
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True)
class AgreementView:
    """What became of one source's human boxes: `AGREEMENT_COUNTS`, each with its percentage of those boxes, and classes.

    `intervals` has the 95 % interval of each percentage; None for added labels, which are no part of the human boxes.
    """

    source: str
    target: str
    counts: tuple[tuple[int, float | None], ...]
    intervals: tuple[tuple[float, float] | None, ...]
    columns: tuple[str, ...]
    matrix: tuple[HeatRow, ...]


def agreement_view(row: EvaluationRow, target_classes: Sequence[str] = ()) -> AgreementView:
    """Arrange one `agreement` row; target classes that no box became are left out of the matrix.

    Args:
        row: `source`, `target`, the counts, and `class_changes` as {source class: {target class: count}}.
        target_classes: names in column order.
    """
    changes: Mapping[str, Mapping[str, int]] = row.get("class_changes") or {}
    found = dict.fromkeys(name for counts in changes.values() for name, count in counts.items() if count)
    columns = [name for name in dict.fromkeys([*target_classes, *found]) if name in found]
    matrix = []
    for name, counts in changes.items():
        total = sum(counts.values())
        cells = [HeatCell(counts.get(column, 0), math.ceil(5 * counts.get(column, 0) / max(total, 1))) for column in columns]
        matrix.append(HeatRow(name, tuple(cells)))
    human_boxes = sum(int(row[name]) for name in ("kept", "moved", "dropped"))
    shares = [(int(row[name]), 100 * int(row[name]) / human_boxes if human_boxes else None) for name in AGREEMENT_COUNTS]
    return AgreementView(
        source=str(row["source"]),
        target=str(row["target"]),
        counts=tuple(shares),
        intervals=tuple(None if name == "added" else wilson_interval(int(row[name]), human_boxes) for name in AGREEMENT_COUNTS),
        columns=tuple(columns),
        matrix=tuple(matrix if columns else ()),
    )


def wilson_interval(count: int, total: int) -> tuple[float, float] | None:
    """The 95 % interval, in percent, of the share that `count` of `total` independent draws estimate; None without draws.

    Source: Wilson (1927), the score interval of a binomial share.
    """
    if not total:
        return None
    share, spread = count / total, WITHIN_95**2 / total
    middle = (share + spread / 2) / (1 + spread)
    margin = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return max(0.0, 100 * (middle - margin)), min(100.0, 100 * (middle + margin))
