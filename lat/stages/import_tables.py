"""What `lat import` prints."""

from __future__ import annotations

from lat.data.importers.writer import ImportSummary


def print_import(summary: ImportSummary) -> None:
    """Print the counts of one import, what became of boxes that could not stay as they are, and how to name it in a run."""
    images = f"{summary.images} images ({summary.empty} without boxes)"
    print(f"wrote {summary.labels}: {images}, {summary.boxes.total()} boxes ({summary.crowd} crowd)")
    print("boxes per class: " + (", ".join(f"{name} {count}" for name, count in summary.boxes.most_common()) or "none"))
    for note in summary.notes():
        print(f"note: {note}")
    print(f"in a configuration: images: {summary.images_dir}, annotations: {summary.labels}")
