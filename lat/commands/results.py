"""Read the figures of a run back for printing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lat.evaluation.ap_margins import margin_of_mean
from lat.stages.evaluate import TRANSFER_METHODS, last_round_methods, mean_ap, method_of
from lat.workspace.paths import require
from lat.workspace.result_files import read_evaluation, read_metrics
from lat.workspace.workspace import Workspace

Row = dict[str, Any]
"""One row of `evaluation.json`: its subject and its figures, None if undefined."""

MEANS = ("ap", "ap50", "precision", "recall", "mean_iou", "ece", "f1", "f1_chosen")


@dataclass(frozen=True)
class Results:
    """All that a run's tables show.

    Attributes:
        tables: the content of `evaluation.json`: rows by table, `transfer`, `agreement` and `downstream`.
        means: for each method of the transfer rows, the mean of its figures over the transfers.
        rounds: the method of each round's labels, the first round's first; empty without further rounds.
        last_round: the names of methods that use the pseudo-labels of the last round, by the method; empty likewise.
        score_threshold: labels below it do not count in label quality and agreement.
        upstream: AP of each upstream detector, by the words that name it; empty if no dataset holds out images.
    """

    tables: dict[str, list[Row]]
    means: dict[str, Row]
    rounds: tuple[str, ...]
    last_round: dict[str, str]
    score_threshold: float
    upstream: dict[str, Row]


def read_tables(workspace: Workspace) -> dict[str, list[Row]]:
    """The content of `evaluation.json`: rows by table.

    Raises:
        InputError: if it has not been written yet, or is damaged.
    """
    return read_evaluation(require(workspace.paths.evaluation, "lat evaluate"))


def read_results(workspace: Workspace) -> Results:
    """The figures of an evaluated run.

    Raises:
        InputError: if a file has not been written yet, or is damaged.
    """
    tables = read_tables(workspace)
    rounds = tuple(method_of(of_round) for of_round in workspace.rounds()) if workspace.config.rounds.count else ()
    last_round = last_round_methods(workspace)
    upstream = {
        f"{name}, round {of_round.round}" if of_round.round else name: read_metrics(of_round.paths.upstream_metrics(name))
        for of_round in workspace.rounds()
        for name in of_round.renewed
    }
    return Results(
        tables=tables,
        means=mean_figures(tables["transfer"], (*TRANSFER_METHODS, *rounds, *last_round.values())),
        rounds=rounds,
        last_round=last_round,
        score_threshold=workspace.config.evaluation.counted_threshold,
        upstream=upstream if any(metrics["ap"] is not None for metrics in upstream.values()) else {},
    )


def mean_figures(rows: Sequence[Row], methods: Sequence[str]) -> dict[str, Row]:
    """For each method, the mean of each figure over the transfers where it is defined, and margins; None if there are none."""
    return {method: _means(rows, method) for method in methods}


def _means(rows: Sequence[Row], method: str) -> Row:
    means: Row = {key: mean_ap([row for row in rows if key in row], method, key) for key in MEANS}
    for key in ("ap", "ap50"):
        defined = [row for row in rows if row["method"] == method and row.get(key) is not None]
        means[f"{key}_margin"] = margin_of_mean((row["source"], row.get(f"{key}_margin")) for row in defined)
    return means
