"""AP and label quality as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lat.cli.tables.margins import MARGIN, with_margin
from lat.core.errors import printable

if TYPE_CHECKING:  # the figures of two files are printed without torch
    from lat.commands.results import Results, Row

METHOD_TITLES = {
    "class_names": "classes matched\nby name",
    "pseudo_label": "plain\npseudo-\nlabels",
    "union": "union",
    "union_averaged": "union,\naveraged",
    "label_transfer": "label transfer",
}


QUALITY_COLUMNS = {
    "precision": "precision",
    "recall": "recall",
    "mean_iou": "mean\nIoU",
    "ece": "ECE",
    "f1": "F1",
    "f1_chosen": "F1 without\ntruth, at",
}


def print_results(results: Results) -> None:
    """Print the tables of a run: transfer AP and label quality where there is truth, agreement with human boxes everywhere."""
    console, rows = Console(highlight=False), results.tables
    threshold = f"{results.score_threshold:g}"
    if rows["transfer"]:
        _print_titled(console, "Transfer AP[.5:.95] / AP50 against truth", transfer_table(rows["transfer"], results.means))
        if results.rounds:
            figures = [_ap_in_line(results.means[method]) for method in results.rounds]
            per_round = ", ".join(f"round {number} {each}" for number, each in enumerate(figures))
            console.print(f"label transfer, mean: {per_round}")
            pairs = results.last_round.items()
            of_last = ", ".join(f"{method.replace('_', ' ')} {_ap_in_line(results.means[name])}" for method, name in pairs)
            console.print(f"detectors of round {len(figures) - 1}, mean: {of_last}", soft_wrap=True)
        title = f"Transferred labels at a score of {threshold} against truth"
        _print_titled(console, title, quality_table(rows["transfer"], results.means["label_transfer"]))
    title = f"Transferred labels (score >= {threshold}) against the human boxes of the source"
    _print_titled(console, title, agreement_table(rows["agreement"]))
    if results.upstream:
        _print_titled(console, "Upstream detectors on their own held-out images", upstream_table(results.upstream))
    if rows["downstream"]:
        _print_titled(console, "Downstream detectors on the target's held-out images", downstream_table(rows["downstream"]))
    if any((rows["transfer"], results.upstream, rows["downstream"])):
        console.print(MARGIN)


def print_figures(title: str, figures: Mapping[str, Any]) -> None:
    """Print the figures of one labels file against truth: in all, and the AP of each class."""
    console = Console(highlight=False)
    _print_titled(console, title, figures_table(figures))
    _print_titled(console, "AP[.5:.95] of each class", class_table(figures["per_class"], figures.get("per_class_margin") or {}))
    console.print(MARGIN)


def _print_titled(console: Console, title: str, table: Table) -> None:
    console.print(f"\n{escape(printable(title))}", style="bold", soft_wrap=True)
    console.print(table)


def transfer_table(rows: Sequence[Row], means: Mapping[str, Row]) -> Table:
    """Transfer AP / AP50 of each method, one row per source and target, the mean last."""
    table = Table(padding=0)  # five methods in 80 columns
    table.add_column("source -> target", no_wrap=True)
    for title in METHOD_TITLES.values():
        table.add_column(title, justify="right")
    directions = list(dict.fromkeys((row["source"], row["target"]) for row in rows))
    for source, target in directions:
        by_method = {row["method"]: row for row in rows if (row["source"], row["target"]) == (source, target)}
        table.add_row(f"{source} -> {target}", *(_ap_figures(by_method[method]) for method in METHOD_TITLES))
    if len(directions) > 1:
        table.add_section()
        table.add_row("mean", *(_ap_figures(means[method]) for method in METHOD_TITLES))
    return table


def quality_table(rows: Sequence[Row], mean: Row) -> Table:
    """Quality of the transferred labels, one row per source and target, the mean last.

    The last column has F1 at the threshold that scores alone suggest, and that threshold.
    """
    table = Table()
    table.add_column("source -> target", no_wrap=True)
    for title in QUALITY_COLUMNS.values():
        table.add_column(title, justify="right")
    transferred = [row for row in rows if row["method"] == "label_transfer"]
    for row in transferred:
        table.add_row(f"{row['source']} -> {row['target']}", *_quality_figures(row))
    if len(transferred) > 1:
        table.add_section()
        table.add_row("mean", *(_share(mean[key]) for key in QUALITY_COLUMNS))
    return table


def figures_table(figures: Mapping[str, Any]) -> Table:
    """All figures of one labels file in one row."""
    table = Table()
    for title in ("AP / AP50", *QUALITY_COLUMNS.values()):
        table.add_column(title, justify="right")
    table.add_row(_ap_figures(figures), *_quality_figures(figures))
    return table


def class_table(per_class: Mapping[str, float | None], margins: Mapping[str, float | None]) -> Table:
    """AP of each class, in the order of the label space, with its margin where it is known."""
    table = Table()
    table.add_column("class")
    table.add_column("AP", justify="right")
    for name, ap in per_class.items():
        table.add_row(escape(printable(name)), with_margin(ap, margins.get(name)))
    return table


def agreement_table(rows: Sequence[Row]) -> Table:
    """What became of the human boxes of each source; needs no truth."""
    table = Table()
    table.add_column("source -> target", no_wrap=True)
    for column in ("kept", "moved", "added", "dropped"):
        table.add_column(column, justify="right")
    for row in rows:
        counts = (str(row[column]) for column in ("kept", "moved", "added", "dropped"))
        table.add_row(f"{row['source']} -> {row['target']}", *counts)
    return table


def upstream_table(upstream: Mapping[str, Row]) -> Table:
    """AP / AP50 of each upstream detector on the images that its dataset holds out."""
    table = Table()
    table.add_column("dataset")
    table.add_column("AP / AP50", justify="right")
    for name, metrics in upstream.items():
        table.add_row(name, _ap_figures(metrics))
    return table


def downstream_table(rows: Sequence[Row]) -> Table:
    """Downstream AP / AP50, one row per detector that has been trained."""
    table = Table()
    for column in ("target", "name", "labels of the sources", "strategy", "detector"):
        table.add_column(column, overflow="fold")
    table.add_column("AP / AP50", justify="right")
    for row in rows:
        words = (row[key].replace("_", " ") for key in ("method", "strategy"))
        table.add_row(row["target"], row["name"], *words, row["detector"], _ap_figures(row))
    return table


def _ap_figures(figures: Mapping[str, Any]) -> str:
    """AP / AP50, and in a second line their margins where they are known."""
    margins = figures.get("ap_margin"), figures.get("ap50_margin")
    below = "" if None in margins else "\n" + " / ".join(f"±{margin:.1f}" for margin in margins)
    return f"{with_margin(figures['ap'], None)} / {with_margin(figures['ap50'], None)}{below}"


def _ap_in_line(figures: Mapping[str, Any]) -> str:
    return " / ".join(with_margin(figures[key], figures.get(f"{key}_margin")) for key in ("ap", "ap50"))


def _quality_figures(figures: Mapping[str, Any]) -> list[str]:
    """A figure for each of `QUALITY_COLUMNS`; the last one names its threshold."""
    shares = [_share(figures[key]) for key in QUALITY_COLUMNS]
    if figures["threshold_chosen"] is not None:
        shares[-1] += f", {figures['threshold_chosen']:.2f}"
    return shares


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
