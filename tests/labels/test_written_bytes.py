"""The bytes of labels files: the first digits of their SHA-256 were taken when every file was written at once by `json.dumps`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import coco_dict, label_space, labeled_boxes, write_json

from lat.core.structures import LabeledBoxes
from lat.labels.coco.read import read_labels
from lat.labels.coco.write import write_labels, write_table
from lat.labels.table import LabelTable

SPACE = label_space("city", ['q"r', "größe", "bus"], ids=[9, 4, 6])
INFO = {"method": "label_transfer", "ü": [1.5, None]}


def spread(count: int, seed: int) -> np.ndarray:
    """(count,) numbers in [0, 1), the same on any machine and with any library."""
    return (np.arange(1, count + 1) * 7919 * (2 * seed + 1) % 100_003) / 100_003


def boxes_on(images: LabelTable) -> tuple[list[LabeledBoxes], list[list[dict[str, Any]]]]:
    found: list[LabeledBoxes] = []
    provenance: list[list[dict[str, Any]]] = []
    for i, (height, width) in enumerate(images.sizes_hw.tolist()):
        count = i % 5
        start, end = spread(2 * count, i).reshape(-1, 2) * 0.5, spread(2 * count, i + 1).reshape(-1, 2) * 0.4 + 0.55
        corners = np.concatenate([start, end], axis=1) * [width, height, width, height]
        corners[:1] = [-0.0004, 0.00001, width + 0.0003, height]
        class_scores = spread(3 * count, i + 2).reshape(-1, 3) ** 8  # down to where numbers have exponents
        labels = class_scores.argmax(axis=1)
        found.append(
            labeled_boxes(SPACE, corners.tolist(), labels.tolist(), class_scores.max(axis=1).tolist(), class_scores.tolist())
        )
        entries: list[dict[str, Any]] = [
            {"origin": "person" if j else "pseudo_label", "space": f'ü"{j % 2}', "annotation_id": i + 1 if j else None}
            for j in range(count)
        ]
        for entry in entries[1::2]:
            entry["prior"] = {"source_class": "é", "factor": 1 / 3 * 10.0 ** (i % 7 - 5), "kept": bool(i % 2)}
        provenance.append(entries)
    return found, provenance


@pytest.mark.parametrize(
    ("size_hw", "has_provenance", "written", "again"),
    [
        (
            (480, 640),
            True,
            "7e8cae31205ef28c",
            "6833216bbf9dd211",
        ),
        (
            (480, 640),
            False,
            "23b6c042f8d60711",
            "42730bd3a3114b3c",
        ),
        (
            (5000, 9000),
            True,
            "85e518b21ff1dd73",
            "5d6e96ce8a7af2b3",
        ),
    ],
)
def test_files_have_the_same_bytes_as_ever(
    size_hw: tuple[int, int], has_provenance: bool, written: str, again: str, tmp_path: Path
) -> None:
    images = read_labels(write_json(tmp_path / "images.json", coco_dict([[]] * 23, size_hw=size_hw)), "city")
    found, provenance = boxes_on(images)
    path = tmp_path / "labels.json"
    write_labels(path, images, SPACE, found, info=INFO, provenance=provenance if has_provenance else None)
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] == written
    write_table(tmp_path / "again.json", read_labels(path, "city"))
    assert hashlib.sha256((tmp_path / "again.json").read_bytes()).hexdigest()[:16] == again


def test_class_scores_of_all_boxes_are_written_in_class_order(tmp_path: Path) -> None:
    images = read_labels(write_json(tmp_path / "images.json", coco_dict([[]])), "city")
    boxes = labeled_boxes(SPACE, [[1, 2, 4, 4]], [1], [0.5], [[1e-6, 0.5, 0.00002]])
    write_labels(tmp_path / "labels.json", images, SPACE, [boxes], info={})
    assert '"score":0.5,"class_scores":[1e-06,0.5,2e-05]}]}' in (tmp_path / "labels.json").read_text()


@pytest.mark.parametrize("column", ["boxes_xyxy", "scores", "class_scores", "factor"])
def test_what_json_has_no_number_for_is_not_written(column: str, tmp_path: Path) -> None:
    images = read_labels(write_json(tmp_path / "images.json", coco_dict([[]] * 5)), "city")
    found, provenance = boxes_on(images)
    write_labels(tmp_path / "labels.json", images, SPACE, found, info={}, provenance=provenance)
    table = read_labels(tmp_path / "labels.json", "city")
    assert table.provenance is not None
    assert table.provenance.prior is not None
    numbers = table.provenance.prior.factor if column == "factor" else getattr(table, column)
    numbers.reshape(-1)[-1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        write_table(tmp_path / "again.json", table)
    assert not (tmp_path / "again.json").exists()
