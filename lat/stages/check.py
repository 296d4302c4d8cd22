"""Check all files of a run and print what was found."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lat.config import Config
from lat.data.check import DatasetCheck, check_datasets
from lat.data.label_sets import check_label_set
from lat.engine.progress import track


def check_all(config: Config) -> bool:
    """Print a table for each dataset and label set, every repair, note and problem; True if there is no problem.

    Repairs are made in memory each time a file is read; files are never changed.
    """
    console = Console(highlight=False, soft_wrap=True)
    with track(len(config.datasets), "check") as progress:
        checks = check_datasets(config.datasets, lambda done, total: progress.advance(1) if done == total else None)
    label_sets = tuple(check_label_set(settings, config.datasets) for settings in config.label_sets)
    for check in (*checks, *label_sets):
        _print_dataset(console, check)
    total = sum(len(check.problems) for check in (*checks, *label_sets))
    more = f" and {len(label_sets)} label set{'s' * (len(label_sets) != 1)}" if label_sets else ""
    console.print(f"{total} problem{'s' * (total != 1)} in {len(checks)} datasets{more}")
    return total == 0


def _print_dataset(console: Console, check: DatasetCheck) -> None:
    table = Table(title=escape(check.name), title_justify="left", title_style="bold")
    for column in ("part", "images", "image size", "empty", "boxes", "crowd"):
        table.add_column(column, justify="left" if column in ("part", "image size") else "right")
    table.add_column("boxes per class", overflow="fold")
    for part in check.parts:
        classes = ", ".join(f"{name} {count}" for name, count in part.boxes_per_class.items())
        figures = (str(part.images), part.image_sizes, str(part.empty_images), str(part.boxes), str(part.crowd_boxes))
        table.add_row(part.part, *figures, escape(classes))
    if check.parts:
        console.print(table)
    for repair in check.repairs:
        console.print(escape(f"repaired in memory: {repair.file}: {repair.what}: {repair.count}"))
    for note in check.notes:
        console.print(escape(f"note: {note}"))
    for problem in check.problems:
        console.print(escape(f"problem: {problem.file}: {problem}"))
