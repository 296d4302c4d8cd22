"""Results as tables on a terminal."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from lat.stages.evaluate import METHODS, mean_ap, method_of
from lat.workspace.paths import require
from lat.workspace.workspace import Workspace

METHOD_TITLES = {
    "class_names": "classes matched\nby name",
    "pseudo_label": "plain\npseudo-labels",
    "union": "union",
    "label_transfer": "label transfer",
}


def read_evaluation(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    """What `evaluation.json` holds: rows by table."""
    content: dict[str, list[dict[str, Any]]] = json.loads(require(workspace.paths.evaluation, "lat evaluate").read_text("utf-8"))
    return content


def print_evaluation(workspace: Workspace) -> None:
    """Print `evaluation.json`: transfer AP where there is truth, agreement with the source's own boxes everywhere."""
    evaluation = read_evaluation(workspace)
    console = Console(highlight=False)
    if evaluation["transfer"]:
        _print_titled(console, "Transfer AP[.5:.95] / AP50 against truth", transfer_table(evaluation["transfer"]))
        if workspace.config.rounds.count:
            console.print(_line_of_rounds(workspace, evaluation["transfer"]))
    threshold = f"{workspace.config.evaluation.score_threshold:g}"
    if evaluation["transfer"]:
        title = f"Transferred labels at a score of {threshold} against truth"
        _print_titled(console, title, quality_table(evaluation["transfer"]))
    title = f"Transferred labels (score >= {threshold}) against the source's own boxes"
    _print_titled(console, title, agreement_table(evaluation["agreement"]))
    upstream = {
        f"{name}, round {seen.round}" if seen.round else name: json.loads(seen.paths.upstream_metrics(name).read_text("utf-8"))
        for seen in workspace.rounds()
        for name in seen.renewed
    }
    if any(metrics["ap"] is not None for metrics in upstream.values()):
        _print_titled(console, "Upstream detectors on their own held-out images", _upstream_table(upstream))
    if evaluation["downstream"]:
        _print_titled(console, "Downstream detectors on the target's held-out images", downstream_table(evaluation["downstream"]))


def _print_titled(console: Console, title: str, table: Table) -> None:
    console.print(f"\n{title}", style="bold")
    console.print(table)


def transfer_table(rows: list[dict[str, Any]]) -> Table:
    """Transfer AP / AP50 of each method, a row for each source and target, the mean last."""
    table = Table()
    table.add_column("source -> target", no_wrap=True)
    for method in METHODS:
        table.add_column(METHOD_TITLES[method], justify="right")
    directions = list(dict.fromkeys((row["source"], row["target"]) for row in rows))
    for source, target in directions:
        by_method = {row["method"]: row for row in rows if (row["source"], row["target"]) == (source, target)}
        figures = [_figures(by_method[method]["ap"], by_method[method]["ap50"]) for method in METHODS]
        table.add_row(f"{source} -> {target}", *figures)
    if len(directions) > 1:
        table.add_section()
        table.add_row("mean", *(_figures(mean_ap(rows, method), mean_ap(rows, method, "ap50")) for method in METHODS))
    return table


QUALITY_COLUMNS = {
    "precision": "precision",
    "recall": "recall",
    "mean_iou": "mean\nIoU",
    "ece": "ECE",
    "f1": "F1",
    "f1_chosen": "F1 without\ntruth, at",
}


def quality_table(rows: list[dict[str, Any]]) -> Table:
    """Quality of the labels of label transfer, a row for each source and target, the mean last; in the last column F1 at the
    threshold that scores alone suggest, and that threshold.
    """
    table = Table()
    table.add_column("source -> target", no_wrap=True)
    for title in QUALITY_COLUMNS.values():
        table.add_column(title, justify="right")
    ours = [row for row in rows if row["method"] == "label_transfer"]
    for row in ours:
        figures = [_share(row[key]) for key in QUALITY_COLUMNS]
        if row["threshold_chosen"] is not None:
            figures[-1] += f", {row['threshold_chosen']:.2f}"
        table.add_row(f"{row['source']} -> {row['target']}", *figures)
    if len(ours) > 1:
        table.add_section()
        table.add_row("mean", *(_share(mean_ap(ours, "label_transfer", key)) for key in QUALITY_COLUMNS))
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _line_of_rounds(workspace: Workspace, rows: list[dict[str, Any]]) -> str:
    """What each round has brought: mean AP / AP50 of its transferred labels."""
    methods = [method_of(seen) for seen in workspace.rounds()]
    figures = (_figures(mean_ap(rows, method), mean_ap(rows, method, "ap50")) for method in methods)
    return "label transfer, mean: " + ", ".join(f"round {number} {each}" for number, each in enumerate(figures))


def agreement_table(rows: list[dict[str, Any]]) -> Table:
    """What became of the source's own boxes; needs no truth."""
    table = Table()
    table.add_column("source -> target", no_wrap=True)
    for column in ("kept", "moved", "added", "dropped"):
        table.add_column(column, justify="right")
    for row in rows:
        counts = (str(row[column]) for column in ("kept", "moved", "added", "dropped"))
        table.add_row(f"{row['source']} -> {row['target']}", *counts)
    return table


def _upstream_table(upstream: dict[str, dict[str, Any]]) -> Table:
    table = Table()
    table.add_column("dataset")
    table.add_column("AP / AP50", justify="right")
    for name, metrics in upstream.items():
        table.add_row(name, _figures(metrics["ap"], metrics["ap50"]))
    return table


def downstream_table(rows: list[dict[str, Any]]) -> Table:
    """Downstream AP / AP50, a row for each detector that has been trained."""
    table = Table()
    for column in ("target", "name", "labels of the sources", "strategy", "detector"):
        table.add_column(column, overflow="fold")
    table.add_column("AP / AP50", justify="right")
    for row in rows:
        words = (row[key].replace("_", " ") for key in ("method", "strategy"))
        table.add_row(row["target"], row["name"], *words, row["detector"], _figures(row["ap"], row["ap50"]))
    return table


def _figures(ap: float | None, ap50: float | None) -> str:
    return " / ".join("-" if value is None else f"{value:.1f}" for value in (ap, ap50))
