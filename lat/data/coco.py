"""COCO JSON, in and out.

This module and `coco_scan` are the only places that know (x, y, width, height) boxes and category ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lat.data.coco_problems import raise_problems
from lat.data.coco_scan import CLIP_TOLERANCE, scan_labels
from lat.data.files import write_atomically
from lat.data.label_table import LabelTable, Provenance
from lat.label_space import LabelSpace
from lat.structures import LabeledBoxes

__all__ = ["LabelTable", "Provenance", "read_labels", "write_labels"]

BOX_DECIMALS, SCORE_DECIMALS = 4, 6


def read_labels(path: Path, name: str, *, expect: LabelSpace | None = None) -> LabelTable:
    """Read a COCO file into columns.

    A box that pokes out of its image is clipped, and a missing `area` or `iscrowd` is taken as computed from the box or as 0:
    in memory, and counted in `repairs`. Nothing else is changed and nothing is left out.

    Args:
        path: the file.
        name: name of the label space that its `categories` make.
        expect: the categories must be those of this space: ids, names and order.

    Raises:
        InputError: with the first ten problems and their total, if the file is missing, is not JSON, or anything in it is
            wrong that cannot be repaired.
    """
    scan = scan_labels(path, name, expect=expect)
    raise_problems(path, scan.problems)
    assert scan.table is not None
    return scan.table


def write_labels(
    path: Path,
    images: LabelTable,
    space: LabelSpace,
    boxes: Sequence[LabeledBoxes],
    *,
    info: dict[str, Any],
    provenance: Sequence[Sequence[Mapping[str, Any]]] | None = None,
) -> None:
    """Write one COCO file, whole or not at all; the same arguments give the same bytes.

    Args:
        path: the file to write.
        images: its images are written in their order with id, file_name, width and height.
        space: its categories are written.
        boxes: one entry an image, in `space`, inside the image and with an area once rounded to 4 decimals.
        info: values of JSON types; should name the method and the hashes of model and config.
        provenance: one entry an image: for each box {"origin": "ground_truth" | "pseudo_label", "space": str,
            "annotation_id": int or None}, the proposal from which it came.

    Raises:
        ValueError: if there is not one entry an image, a box is in another space, outside its image or without area, or
            anything is NaN. Nothing is written then.
    """
    if len(boxes) != len(images) or (provenance is not None and len(provenance) != len(images)):
        raise ValueError(f"{path}: {len(images)} images but labels of {len(boxes)}")
    annotations: list[dict[str, Any]] = []
    for i, image_boxes in enumerate(boxes):
        rows = _image_annotations(images, i, space, image_boxes)
        if provenance is not None:
            for row, entry in zip(rows, provenance[i], strict=True):
                row["provenance"] = {key: entry[key] for key in ("origin", "space", "annotation_id")}
        annotations += rows
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    document = {
        "info": info,
        "images": images.image_entries(),
        "categories": space.categories(),
        "annotations": annotations,
    }
    write_atomically(Path(path), json.dumps(document, allow_nan=False, separators=(",", ":")) + "\n")


def _image_annotations(images: LabelTable, i: int, space: LabelSpace, boxes: LabeledBoxes) -> list[dict[str, Any]]:
    """The annotations of image `i`, all but provenance."""
    where = f"{images.path}: image {images.image_ids[i]}"
    if boxes.space.categories() != space.categories():
        raise ValueError(f"{where}: boxes in space {boxes.space.name}, not {space.name}")
    corners = np.round(boxes.boxes_xyxy.cpu().numpy().astype(np.float64), BOX_DECIMALS)
    _check_corners(corners, images.sizes_hw[i], where)
    sides = np.round(corners[:, 2:] - corners[:, :2], BOX_DECIMALS)
    columns: dict[str, list[Any]] = {
        "category_id": space.to_category_ids(boxes.labels.cpu().numpy()).tolist(),
        "bbox": (np.concatenate([corners[:, :2], sides], axis=1) + 0.0).tolist(),
        "area": np.round(sides.prod(axis=1), BOX_DECIMALS).tolist(),
        "score": np.round(boxes.scores.cpu().numpy().astype(np.float64), SCORE_DECIMALS).tolist(),
    }
    if boxes.class_scores is not None:
        columns["class_scores"] = np.round(boxes.class_scores.cpu().numpy().astype(np.float64), SCORE_DECIMALS).tolist()
    fixed = {"id": 0, "image_id": int(images.image_ids[i]), "iscrowd": 0}
    return [{**fixed, **dict(zip(columns, row, strict=True))} for row in zip(*columns.values(), strict=True)]


def _check_corners(corners: np.ndarray, size_hw: np.ndarray, where: str) -> None:
    """Refuse what `read_labels` would have to repair or refuse."""
    height, width = size_hw.tolist()
    inside = (corners >= -CLIP_TOLERANCE).all(axis=1) & (corners <= [w_h + CLIP_TOLERANCE for w_h in (width, height) * 2]).all(
        axis=1
    )
    for wrong, what in ((~inside, "leaves the image"), ((corners[:, 2:] <= corners[:, :2]).any(axis=1), "has no area")):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(f"{where}, box {row}: {corners[row].tolist()} {what} ({width} x {height} pixels)")
