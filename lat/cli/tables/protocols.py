"""How protocols differ, as tables and sentences on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lat.core.errors import printable

_MOST_LISTED = 3  # classes of the target that a class without a convention is listed with
SIDES = ("left", "top", "right", "bottom")


def print_conventions(found: Sequence[Mapping[str, Any]]) -> None:
    """Print a table and the sentences of each source and target."""
    console = Console(highlight=False)
    for one in found:
        title = f"Boxes of {one['source']}: how much further out than those of {one['target']} their sides lie, in %"
        console.print(escape(printable(title)), style="bold", soft_wrap=True)
        console.print(convention_table(one))
        for sentence in one["sentences"]:
            console.print(escape(printable(f"- {sentence}")), soft_wrap=True)
        console.print()
    if any(row["undecided"] for one in found for row in one["classes"]):
        console.print("? the ways to estimate this class's shares contradict one another", soft_wrap=True)


def convention_table(one: Mapping[str, Any]) -> Table:
    """A row for each two classes that meet, and one for each class of the source that meets none."""
    table = Table(padding=0)
    for title in ("class", f"in {one['target']}"):
        table.add_column(escape(printable(title)), overflow="fold")
    for title in ("pairs", *SIDES, "scatter", "hidden"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in one["classes"]:
        met = [pair for pair in one["conventions"] if pair["source_class"] == row["class"]]
        for pair in met:
            figures = [str(pair["pairs"]), *(_shift(pair["sides"][side]) for side in SIDES)]
            hidden = f"{max(pair['hidden'].values()):.0f} %"
            table.add_row(*_classes(row, pair["target_class"]), *figures, f"{pair['scatter']:.1f}", hidden)
        if not met:
            table.add_row(*_classes(row, ""), *[""] * 7)
    return table


def _classes(row: Mapping[str, Any], target_class: str) -> tuple[str, str]:
    """The class of the source, marked if it is undecided, and what share of it is the target's class, or which it is at all."""
    shares = row["shares"]
    if target_class:
        text = f"{target_class} {100 * shares[target_class]:.0f} %"
    else:
        listed = [*list(shares.items())[:_MOST_LISTED], ("nothing", row["nothing"])]
        text = "\n".join(f"{name} {100 * share:.0f} %" for name, share in listed)
    name, text = escape(printable(row["class"] + " ?" * row["undecided"])), "\n".join(map(printable, text.split("\n")))
    return name, escape(text)


def _shift(side: Mapping[str, float] | None) -> str:
    """A shift and half of its interval, such as `+12.0±2`."""
    return "-" if side is None else f"{side['median']:+.1f}±{(side['high'] - side['low']) / 2:.0f}"
