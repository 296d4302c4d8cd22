"""What was kept of the pseudo-labels, as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from lat.commands.kept_labels import KeptLabels
from lat.core.errors import printable


def print_kept_labels(files: Iterable[KeptLabels]) -> None:
    """Print one table per file of pseudo-labels."""
    console = Console(highlight=False, markup=False)
    for kept in files:
        console.print(kept_table(kept))


def kept_table(kept: KeptLabels) -> Table:
    """One row per class; the title has the divergence of the kept classes from those of the ground truth."""
    divergence = "-" if kept.divergence is None else f"{kept.divergence:.5f}"
    table = Table(title=f"{printable(kept.title)}: KL divergence from its ground truth {divergence}", title_justify="left")
    table.add_column("class", no_wrap=True)
    for column in ("ground truth", "found", "wanted", "kept", "threshold"):
        table.add_column(column, justify="right")
    labelled, in_file = (sum(getattr(one, key) for one in kept.classes) for key in ("ground_truth", "kept"))
    for one in kept.classes:
        table.add_row(
            printable(one.name),
            _count(one.ground_truth, labelled),
            str(one.found),
            "-" if one.wanted is None else str(one.wanted),
            _count(one.kept, in_file),
            "-" if one.threshold is None else f"{one.threshold:.3f}",
        )
    return table


def _count(count: int, total: int) -> str:
    """A count, and its share of all."""
    return f"{count} ({count / max(1, total):.1%})"
