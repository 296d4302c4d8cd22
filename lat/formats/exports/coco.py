"""COCO: one JSON file per part, with the ids, file names, categories and scores of the labels file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lat.data.dataset import DetectionDataset
from lat.formats.exports.layout import ExportFormat, Split, keep_names
from lat.labels.coco.write import write_table


def write(folder: Path, splits: Sequence[Split]) -> None:
    """Write `annotations/instances_PART.json`, whose file names are relative to `images/PART`."""
    for split in splits:
        write_table(folder / "annotations" / f"instances_{split.name}.json", split.dataset.labels)


def losses(datasets: Sequence[DetectionDataset]) -> list[str]:
    """Nothing: everything in a table is kept."""
    return []


FORMAT = ExportFormat(keep_names, write, losses)
