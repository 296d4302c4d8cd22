"""Writing COCO JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lat.core.files import write_atomically
from lat.core.label_space import LabelSpace
from lat.labels.coco.scan import CLIP_TOLERANCE
from lat.labels.provenance import file_entry
from lat.labels.table import LabelTable

BOX_DECIMALS, SCORE_DECIMALS = 4, 6


class ImageBoxes(Protocol):
    """The boxes of one image: arrays, or tensors on any device. `lat.core.structures.LabeledBoxes` is one."""

    @property
    def space(self) -> LabelSpace: ...
    @property
    def boxes_xyxy(self) -> Any: ...
    @property
    def labels(self) -> Any: ...
    @property
    def scores(self) -> Any: ...
    @property
    def class_scores(self) -> Any | None: ...


def write_labels(
    path: Path,
    images: LabelTable,
    space: LabelSpace,
    boxes: Sequence[ImageBoxes],
    *,
    info: dict[str, Any],
    provenance: Sequence[Sequence[Mapping[str, Any]]] | None = None,
) -> None:
    """Write one COCO file, whole or not at all; the same arguments give the same bytes.

    Args:
        path: the file to write.
        images: its images are written in order, with id, file_name, width and height.
        space: its categories are written.
        boxes: one entry per image, in `space`, inside the image and with an area after rounding to 4 decimals.
        info: values of JSON types; should name the method and the hashes of model and config.
        provenance: one entry per image: for each box {"origin": "ground_truth" | "pseudo_label", "space": str,
            "annotation_id": int or None}, the proposal that it came from; and, if a prior weighed its class, "prior":
            {"source_class": str, "factor": float, "kept": bool}, see `AppliedPrior`.

    Raises:
        ValueError: if there is not one entry per image, a box is in another space, outside its image or without area, or
            anything is NaN. Nothing is written then.
    """
    if len(boxes) != len(images) or (provenance is not None and len(provenance) != len(images)):
        raise ValueError(f"{path}: {len(images)} images but labels of {len(boxes)}")
    annotations: list[dict[str, Any]] = []
    for i, image_boxes in enumerate(boxes):
        rows = _image_annotations(images, i, space, image_boxes)
        if provenance is not None:
            for row, entry in zip(rows, provenance[i], strict=True):
                row["provenance"] = file_entry(entry)
        annotations += rows
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    _write_document(path, images, space, annotations, info)


def write_table(path: Path, table: LabelTable) -> None:
    """Write a table as a COCO file, whole or not at all, so that `read_labels` gives the same table back.

    Ids, file names, categories, scores, crowd boxes, class scores, provenance and `info` are kept; corners are rounded to 4
    decimals, scores to 6, and `area` is that of the box.
    """
    columns = _columns(table.space, table.boxes_xyxy, table.labels, table.scores, table.class_scores)
    columns["id"] = table.annotation_ids.tolist()
    columns["image_id"] = np.repeat(table.image_ids, np.diff(table.offsets)).tolist()
    columns["iscrowd"] = table.is_crowd.astype(int).tolist()
    if table.provenance is not None:
        columns["provenance"] = table.provenance.entries()
    _write_document(path, table, table.space, _rows(columns), table.info)


def _write_document(
    path: Path, images: LabelTable, space: LabelSpace, annotations: list[dict[str, Any]], info: dict[str, Any]
) -> None:
    document = {
        "info": info,
        "images": images.image_entries(),
        "categories": space.categories(),
        "annotations": annotations,
    }
    write_atomically(Path(path), json.dumps(document, allow_nan=False, separators=(",", ":")) + "\n")


def _columns(
    space: LabelSpace, boxes_xyxy: np.ndarray, labels: np.ndarray, scores: np.ndarray, class_scores: np.ndarray | None
) -> dict[str, list[Any]]:
    """The keys that all annotations have, as JSON values, from corners (A, 4), labels (A,) and scores (A,)."""
    corners = _rounded(boxes_xyxy, BOX_DECIMALS)
    sides = np.round(corners[:, 2:] - corners[:, :2], BOX_DECIMALS)
    columns: dict[str, list[Any]] = {
        "category_id": space.to_category_ids(labels).tolist(),
        "bbox": (np.concatenate([corners[:, :2], sides], axis=1) + 0.0).tolist(),
        "area": np.round(sides.prod(axis=1), BOX_DECIMALS).tolist(),
        "score": _rounded(scores, SCORE_DECIMALS).tolist(),
    }
    if class_scores is not None:
        columns["class_scores"] = _rounded(class_scores, SCORE_DECIMALS).tolist()
    return columns


def _rounded(values: np.ndarray, decimals: int) -> np.ndarray:
    return np.round(np.asarray(values).astype(np.float64), decimals)


def _rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _image_annotations(images: LabelTable, i: int, space: LabelSpace, boxes: ImageBoxes) -> list[dict[str, Any]]:
    """The annotations of image `i`, without provenance."""
    where = f"{images.path}: image {images.image_ids[i]}"
    if boxes.space.categories() != space.categories():
        raise ValueError(f"{where}: boxes in space {boxes.space.name}, not {space.name}")
    corners, labels, scores = map(_array, (boxes.boxes_xyxy, boxes.labels, boxes.scores))
    class_scores = None if boxes.class_scores is None else _array(boxes.class_scores)
    _check_corners(_rounded(corners, BOX_DECIMALS), images.sizes_hw[i], where)
    fixed = {"id": 0, "image_id": int(images.image_ids[i]), "iscrowd": 0}
    return [{**fixed, **row} for row in _rows(_columns(space, corners, labels, scores, class_scores))]


def _array(column: Any) -> np.ndarray:
    """A column as an array; tensors are copied to the CPU first."""
    return np.asarray(column.cpu() if hasattr(column, "cpu") else column)


def _check_corners(corners: np.ndarray, size_hw: np.ndarray, where: str) -> None:
    """Raise for boxes that `read_labels` would repair or reject."""
    height, width = size_hw.tolist()
    inside = (corners >= -CLIP_TOLERANCE).all(axis=1) & (corners <= [w_h + CLIP_TOLERANCE for w_h in (width, height) * 2]).all(
        axis=1
    )
    for wrong, what in ((~inside, "leaves the image"), ((corners[:, 2:] <= corners[:, :2]).any(axis=1), "has no area")):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(f"{where}, box {row}: {corners[row].tolist()} {what} ({width} x {height} pixels)")
