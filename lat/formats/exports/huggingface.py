"""Hugging Face: an image folder with labels as `metadata.parquet`, which `datasets.load_dataset` opens, and a dataset card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lat.data.dataset import DetectionDataset
from lat.formats.exports.columns import DOUBT, remarks
from lat.formats.exports.huggingface_card import card
from lat.formats.exports.layout import ExportFormat, Split, keep_names
from lat.labels.table import BOX_DECIMALS

COLUMNS = {
    "annotation_id": "int64",
    "score": "float32",
    "iscrowd": "bool",
    "origin": "string",
    "origin_space": "string",
    "origin_id": "int64",
    DOUBT: "float32",
}
"""What an object has besides `bbox` and `category`, and its type; the last four only where labels have it."""


def write(folder: Path, splits: Sequence[Split]) -> None:
    """Write `images/PART/metadata.parquet`, whose file names are relative to it, and `README.md`, which has the types of all.

    Parquet has types: those of JSON lines would be guessed by the first of them, and wrongly where no image has a box.
    """
    from pyarrow import Table, parquet

    columns = _columns(splits)
    for split in splits:
        path = folder / "images" / split.name / "metadata.parquet"
        path.parent.mkdir(parents=True)
        rows = [_row(split, i, columns) for i in range(len(split.dataset))]
        parquet.write_table(Table.from_pylist(rows, schema=_schema(splits[0], columns)), path)
    (folder / "README.md").write_text(card(splits, _features(splits[0], columns)), encoding="utf-8")


def _columns(splits: Sequence[Split]) -> list[str]:
    has = {"origin": any(split.dataset.labels.provenance is not None for split in splits)}
    has[DOUBT] = any(split.doubts for split in splits)
    return [name for name in COLUMNS if has.get("origin" if name.startswith("origin") else name, True)]


def _schema(split: Split, columns: Sequence[str]) -> Any:
    """The types of the Parquet file, and beside them, as `datasets` reads it, that a category is one of the classes."""
    import pyarrow as pa

    types = {"int64": pa.int64(), "float32": pa.float32(), "bool": pa.bool_(), "string": pa.string()}
    objects = {"bbox": pa.list_(pa.float32(), 4), "category": pa.int64(), **{name: types[COLUMNS[name]] for name in columns}}
    struct = pa.struct([(name, pa.list_(kind)) for name, kind in objects.items()])
    sizes = [(name, pa.int64()) for name in ("image_id", "width", "height")]
    fields = [("file_name", pa.string()), *sizes, ("objects", struct)]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": {"objects": _objects(split, columns)}}})})


def _objects(split: Split, columns: Sequence[str]) -> dict[str, Any]:
    """The types of `objects` as `datasets` of any version names them."""
    bbox = {"feature": {"dtype": "float32", "_type": "Value"}, "length": 4, "_type": "Sequence"}
    found: dict[str, Any] = {"bbox": bbox, "category": {"names": list(split.dataset.space.class_names), "_type": "ClassLabel"}}
    found |= {name: {"dtype": COLUMNS[name], "_type": "Value"} for name in columns}
    return {name: {"feature": kind, "_type": "Sequence"} for name, kind in found.items()}


def _features(split: Split, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The types of all columns as a dataset card has them."""
    names = {str(index): name for index, name in enumerate(split.dataset.space.class_names)}
    objects: list[dict[str, Any]] = [
        {"name": "bbox", "list": {"list": "float32", "length": 4}},
        {"name": "category", "list": {"class_label": {"names": names}}},
        *({"name": name, "list": COLUMNS[name]} for name in columns),
    ]
    sizes = [{"name": name, "dtype": "int64"} for name in ("image_id", "width", "height")]
    return [{"name": "image", "dtype": "image"}, *sizes, {"name": "objects", "struct": objects}]


def _row(split: Split, i: int, columns: Sequence[str]) -> dict[str, Any]:
    """An image; boxes as (x, y, width, height) in pixels, classes by index."""
    table = split.dataset.labels
    height, width = table.sizes_hw[i].tolist()
    objects: dict[str, list[Any]] = {name: [] for name in ("bbox", "category", *columns)}
    for row in range(*table.rows(i).indices(table.num_boxes)):
        x1, y1, x2, y2 = table.boxes_xyxy[row].tolist()
        said = {"iscrowd": 0, **remarks(table, row, split.doubts)}
        objects["bbox"].append([round(side, BOX_DECIMALS) for side in (x1, y1, x2 - x1, y2 - y1)])
        objects["category"].append(int(table.labels[row]))
        for name in columns:
            objects[name].append(bool(said[name]) if name == "iscrowd" else said.get(name))
    place = PurePosixPath(split.images[i]).relative_to("images", split.name)
    return {
        "file_name": str(place),
        "image_id": int(table.image_ids[i]),
        "width": width,
        "height": height,
        "objects": objects,
    }


def losses(datasets: Sequence[DetectionDataset]) -> list[str]:
    """Class scores."""
    has_vectors = any(dataset.labels.class_scores is not None for dataset in datasets)
    return ["class scores are left out"] if has_vectors else []


_OPENED = """python -c 'import datasets; print(datasets.load_dataset("{out}"))'"""
FORMAT = ExportFormat(keep_names, write, losses, train_with=_OPENED)
