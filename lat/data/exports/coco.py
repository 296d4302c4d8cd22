"""COCO: one JSON file for each part, with the ids, file names, categories and scores of the labels file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from lat.data.coco import write_table
from lat.data.dataset import DetectionDataset
from lat.data.exports.layout import ExportFormat, Split


def arrange(datasets: Mapping[str, DetectionDataset]) -> list[Split]:
    """Images at `images/PART/FILE_NAME`, folders in the file names included."""
    return [
        Split(name, dataset, tuple(str(PurePosixPath("images", name, file_name)) for file_name in dataset.labels.file_names))
        for name, dataset in datasets.items()
    ]


def write(folder: Path, splits: Sequence[Split]) -> None:
    """Write `annotations/instances_PART.json`, whose file names are relative to `images/PART`."""
    for split in splits:
        write_table(folder / "annotations" / f"instances_{split.name}.json", split.dataset.labels)


def losses(datasets: Sequence[DetectionDataset]) -> list[str]:
    """Nothing: all that a table holds is kept."""
    return []


FORMAT = ExportFormat(arrange, write, losses)
