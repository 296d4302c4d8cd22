"""Tables on a terminal."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from lat.cli.tables.evaluation import quality_table
from lat.commands.results import mean_figures


def row(source: str, method: str, value: float | None) -> dict[str, Any]:
    keys = ("precision", "recall", "mean_iou", "ece", "f1", "f1_chosen", "threshold_chosen")
    return {"source": source, "target": "way", "method": method, **dict.fromkeys(keys, value)}


def test_quality_has_a_row_for_each_transfer_and_means_of_what_is_defined() -> None:
    rows = [row("city", "label_transfer", 0.5), row("city", "pseudo_label", 0.9), row("nu", "label_transfer", 0.25)]
    rows += [row("far", "label_transfer", None)]
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(quality_table(rows, mean_figures(rows, ["label_transfer"])["label_transfer"]))
    lines = [line.replace("│", " ").split() for line in console.export_text().splitlines() if "│" in line]
    assert lines == [
        ["city", "->", "way", *["0.500"] * 5, "0.500,", "0.50"],
        ["nu", "->", "way", *["0.250"] * 5, "0.250,", "0.25"],
        ["far", "->", "way", *["-"] * 6],
        ["mean", *["0.375"] * 6],
    ]
