"""An import in a test: its boxes by file name, and what was said about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lat.formats.importers.source import Importer
from lat.formats.importers.writer import ImportOptions, ImportSummary, write_import
from lat.labels.coco.read import read_labels

Found = dict[str, list[tuple[str, list[float], int]]]
"""For each image: class name, (x1, y1, x2, y2), iscrowd."""


def run_import(importer: Importer, **options: Any) -> tuple[Found, ImportSummary]:
    """Import to `out/SPLIT.json`, check that `lat` reads it as it is and each image was asked for once; return what is in it."""
    path = importer.out / f"{importer.split}.json"
    steps: list[None] = []
    summary = write_import(importer, ImportOptions(**options), "test", path, lambda: steps.append(None))
    assert len(steps) == sum(1 for _ in importer.names())
    table = read_labels(path, "test")
    assert table.repairs == {}
    assert table.space.categories() == importer.class_list.space.categories()
    assert (len(table), table.num_boxes) == (summary.images, summary.boxes.total())
    return found_in(path), summary


def found_in(path: Path) -> Found:
    document = json.loads(path.read_text())
    names = {category["id"]: category["name"] for category in document["categories"]}
    found: Found = {image["file_name"]: [] for image in document["images"]}
    files = {image["id"]: image["file_name"] for image in document["images"]}
    assert [one["id"] for one in document["images"]] == list(range(1, len(files) + 1))
    assert [one["id"] for one in document["annotations"]] == list(range(1, len(document["annotations"]) + 1))
    for one in document["annotations"]:
        x, y, w, h = one["bbox"]
        assert one["area"] == round(w * h, 4)
        found[files[one["image_id"]]].append(
            (names[one["category_id"]], [x, y, round(x + w, 4), round(y + h, 4)], one["iscrowd"])
        )
    return found


def sizes_in(path: Path) -> dict[str, tuple[int, int]]:
    """Width and height of each image."""
    return {image["file_name"]: (image["width"], image["height"]) for image in json.loads(path.read_text())["images"]}
