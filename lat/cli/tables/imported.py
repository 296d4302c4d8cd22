"""What `lat import` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lat.core.errors import printable
from lat.formats.corrections.merge import CorrectedLabels
from lat.formats.importers.writer import ImportSummary


def print_import(summary: ImportSummary) -> None:
    """Print the counts of one import, what was changed or left out, and how to name it in a configuration."""
    images = f"{summary.images} images ({summary.empty} without boxes)"
    print(printable(f"wrote {summary.labels}: {images}, {summary.boxes.total()} boxes ({summary.crowd} crowd)"))
    print(
        printable("boxes per class: " + (", ".join(f"{name} {count}" for name, count in summary.boxes.most_common()) or "none"))
    )
    for note in summary.notes():
        print(printable(f"note: {note}"))
    print(printable(f"in a configuration: images: {summary.images_dir}, annotations: {summary.labels}"))


def print_corrections(out: Path, found: CorrectedLabels, notes: Sequence[str]) -> None:
    """Print what became of the boxes of a corrected labels file."""
    print(
        f"wrote {printable(out)}: {found.table.num_boxes} boxes, {found.accepted} accepted, {found.changed} changed, "
        f"{found.added} new, {found.unseen} not seen; {found.deleted} deleted"
    )
    for note in notes:
        print(printable(f"note: {note}"))
