"""Tables on a terminal."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from rich.table import Table

from lat.cli.tables.evaluation import class_table, quality_table, transfer_table
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


def test_margins_stand_below_ap_and_behind_the_ap_of_a_class() -> None:
    figures = {"ap": 67.4, "ap50": 90.0, "ap_margin": 1.24, "ap50_margin": 0.5}
    methods = ["class_names", "pseudo_label", "union", "union_averaged", "label_transfer"]
    rows = [{"source": source, "target": "way", "method": one, **figures} for source in ("city", "nu") for one in methods]
    rows[0] |= {"ap": None, "ap50": None, "ap_margin": None, "ap50_margin": None}
    lines = printed(transfer_table(rows, mean_figures(rows, methods)))
    with_margins = [*["67.4", "/", "90.0"] * 4]
    assert lines[-6:-4] == [["city", "->", "way", "-", "/", "-", *with_margins], ["±1.2", "/", "±0.5"] * 4]
    assert lines[-1] == [*["±1.2", "/", "±0.5"], *["±0.9", "/", "±0.4"] * 4]  # one row has it, or 1.24 / sqrt(2)
    classes = printed(class_table({"car": 55.0, "bus": None, "van": 40.0}, {"car": 2.0, "bus": None}))
    assert classes[-3:] == [["car", "55.0", "±", "2.0"], ["bus", "-"], ["van", "40.0"]]


def printed(table: Table) -> list[list[str]]:
    """The words of each line with cells, in 80 columns."""
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(table)
    return [line.replace("│", " ").split() for line in console.export_text().splitlines() if "│" in line]
