"""Two annotators compared, as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lat.cli.tables.margins import MARGIN, with_margin
from lat.core.errors import printable

_LEAST_SHARE = 0.005  # of what a class is in the other file, what is listed: 1 % after rounding
_MOST_LISTED = 3


def print_comparison(figures: Mapping[str, Any]) -> None:
    """Print what the two files are, a table of the classes of each, how their boxes differ, and how far they agree."""
    console = Console(highlight=False)
    for own in "AB":
        _print_line(console, f"{own}: {figures['files'][own]}: {figures['boxes'][own]} boxes in {figures['images']} images")
    left_out = figures["images_left_out"]
    _print_line(console, f"images matched by {figures['matched_by']}; left out: {left_out['A']} of A, {left_out['B']} of B")
    for own, other in ("AB", "BA"):
        console.print(f"\nBoxes of {own}, and what they are in {other}", style="bold")
        console.print(class_table(figures["classes"][own], other, figures["ap"][f"{other}_against_{own}"]["per_class"]))
    for line in [*convention_lines(figures["conventions"]), *agreement_lines(figures)]:
        _print_line(console, line)


def _print_line(console: Console, line: str) -> None:
    console.print(escape(printable(line)), soft_wrap=True)


def class_table(classes: Sequence[Mapping[str, Any]], other: str, ap: Mapping[str, float | None]) -> Table:
    """One row per class of one file; `ap` is that of the other file's boxes on each."""
    table = Table(padding=0)  # eight columns in 80 characters
    table.add_column("class")
    for title in ("boxes", f"missed\nby {other}", "doubled", "mean\nIoU", f"AP\nof {other}", "alpha"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(f"in {other}", overflow="fold")
    for one in classes:
        missed = f"{one['missed']}" + (f", {_percent(one['missed_share'])}" if one["boxes"] else "")
        decimals = _decimal(one["mean_iou"], 3), _decimal(ap[one["class"]], 1), _decimal(one["alpha"], 3)
        name = escape(printable(one["class"]))
        table.add_row(name, str(one["boxes"]), missed, str(one["doubled"]), *decimals, escape("\n".join(_listed(one))))
    return table


def _listed(one: Mapping[str, Any]) -> list[str]:
    """What a class is in the other file, the largest shares first."""
    if not one["boxes"]:
        return ["-"]
    largest = sorted(one["shares"].items(), key=lambda entry: -entry[1])[:_MOST_LISTED]
    entries = [*(entry for entry in largest if entry[1] >= _LEAST_SHARE), ("nothing", one["missed_share"])]
    return [printable(f"{name} {_percent(share)}") for name, share in entries if share]


def convention_lines(conventions: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each two classes that meet, with the pairs that it rests on."""
    if not conventions:
        return ["", "no two classes meet in enough pairs to tell how their boxes differ"]
    return ["", *(f"{one['sentence']} ({one['pairs']} pairs, sides scatter by {one['scatter']:.1f} %)" for one in conventions)]


def agreement_lines(figures: Mapping[str, Any]) -> list[str]:
    """Alpha and AP both ways."""
    alphas = _decimal(figures["alpha"], 3), _decimal(figures["alpha_of_matched"], 3)
    ways = [f"{way.replace('_', ' ')} {_both_aps(ap)}" for way, ap in figures["ap"].items()]
    return [
        "",
        f"alpha {alphas[0]} over all boxes, {alphas[1]} over the {figures['matched']} that are in both",
        f"AP[.5:.95] / AP50 of each class as its likeliest counterpart: {', '.join(ways)}",
        MARGIN,
    ]


def _both_aps(figures: Mapping[str, Any]) -> str:
    return " / ".join(with_margin(figures[key], figures[f"{key}_margin"]) for key in ("ap", "ap50"))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _decimal(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
