"""Writing COCO JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lat.core.files import open_atomically
from lat.core.label_space import LabelSpace
from lat.labels.class_scores import SCORE_DECIMALS, TopScores, written_scores
from lat.labels.coco.json_rows import json_of_rows
from lat.labels.table import BOX_DECIMALS, LabelTable
from lat.labels.written_boxes import ImageBoxes, rounded, table_of_boxes

_IMAGES_AT_ONCE = 1000
_ROWS_AT_ONCE = 10_000


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
        boxes: one entry per image, see `table_of_boxes`.
        info: values of JSON types; should name the method and the hashes of model and config.
        provenance: one entry per image, see `table_of_boxes`.

    Raises:
        ValueError: if there is not one entry per image, or for a box or a value that `table_of_boxes` refuses. Nothing is written
            then.
    """
    if len(boxes) != len(images) or (provenance is not None and len(provenance) != len(images)):
        raise ValueError(f"{path}: {len(images)} images but labels of {len(boxes)}")

    def parts() -> Iterator[LabelTable]:
        for first in range(0, len(images), _IMAGES_AT_ONCE):
            some = slice(first, first + _IMAGES_AT_ONCE)
            yield table_of_boxes(images, space, boxes[some], None if provenance is None else provenance[some], first)

    stream_coco(path, images, space, parts(), info=info)


def stream_coco(path: Path, images: LabelTable, space: LabelSpace, parts: Iterable[LabelTable], *, info: dict[str, Any]) -> str:
    """Write one COCO file, whole or not at all, from tables of consecutive images, of which one at a time is in memory.

    Annotations are numbered from 1 over all parts, whatever their ids. The same rows give the same bytes, however they are split
    into parts.

    Args:
        path: the file to write.
        images: all images; its annotations are ignored.
        space: the label space of the parts.
        parts: their images are those of `images`, in order.
        info: values of JSON types.

    Returns:
        The SHA-256 of the file, 64 hexadecimal digits.

    Raises:
        ValueError: if the images of the parts are not those of `images`, or anything is NaN. Nothing is written then.
    """

    def annotations() -> Iterator[str]:
        image, number = 0, 1
        for part in parts:
            if not np.array_equal(part.image_ids, images.image_ids[image : image + len(part)]):
                raise ValueError(f"{path}: a part whose images are not those from {image} on")
            yield from _annotations(part, np.arange(number, number + part.num_boxes), ("id", "image_id", "iscrowd"))
            image, number = image + len(part), number + part.num_boxes
        if image != len(images):
            raise ValueError(f"{path}: {len(images)} images but labels of {image}")

    return _write_document(path, images, space, annotations(), info)


def write_table(path: Path, table: LabelTable) -> None:
    """Write a table as a COCO file, whole or not at all, so that `read_labels` gives the same table back.

    Ids, file names, categories, scores, crowd boxes, class scores, provenance and `info` are kept; corners are rounded to 4
    decimals, scores to 6, and `area` is that of the box.
    """
    _write_document(path, table, table.space, _annotations(table, table.annotation_ids, ()), table.info)


def _write_document(path: Path, images: LabelTable, space: LabelSpace, annotations: Iterator[str], info: dict[str, Any]) -> str:
    """Write the file from lists of annotations in JSON; the SHA-256 of its bytes."""
    digest = hashlib.sha256()
    with open_atomically(Path(path)) as file:
        for piece in _document(images, space, annotations, info):
            content = piece.encode()
            digest.update(content)
            file.write(content)
    return digest.hexdigest()


def _document(images: LabelTable, space: LabelSpace, annotations: Iterator[str], info: dict[str, Any]) -> Iterator[str]:
    """The pieces of the file's text."""
    yield f'{{"info":{_json(info)},"images":['
    slices = (slice(i, i + _ROWS_AT_ONCE) for i in range(0, len(images), _ROWS_AT_ONCE))
    yield from _items(_json(images.image_entries(some)) for some in slices)
    yield f'],"categories":{_json(space.categories())},"annotations":['
    yield from _items(annotations)
    yield "]}\n"


def _items(lists: Iterable[str]) -> Iterator[str]:
    """The items of several lists in JSON, none of them empty, as those of one list."""
    for i, some in enumerate(lists):
        yield ("," if i else "") + some[1:-1]


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _annotations(table: LabelTable, ids: np.ndarray, first_keys: tuple[str, ...]) -> Iterator[str]:
    """The annotations of a table with these ids (A,) as lists in JSON; each begins with `first_keys`."""
    image_ids = np.repeat(table.image_ids, np.diff(table.offsets))
    for first in range(0, table.num_boxes, _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        _check_finite(table, rows)
        columns = _box_columns(table, rows)
        columns["id"], columns["image_id"] = ids[rows].tolist(), image_ids[rows].tolist()
        columns["iscrowd"] = table.is_crowd[rows].astype(int).tolist()
        if table.provenance is not None:
            columns["provenance"] = table.provenance[rows].entries()
        yield json_of_rows({key: columns[key] for key in dict.fromkeys((*first_keys, *columns))})


def _check_finite(table: LabelTable, rows: slice) -> None:
    """Raise for numbers that JSON has not."""
    numbers: list[np.ndarray] = [table.boxes_xyxy, table.scores]
    if (of_classes := table.class_scores) is not None:
        numbers.append(of_classes.scores if isinstance(of_classes, TopScores) else of_classes)
    if table.provenance is not None and table.provenance.prior is not None:
        numbers.append(table.provenance.prior.factor)
    if not all(np.isfinite(column[rows]).all() for column in numbers):
        raise ValueError(f"{table.path}: a number is NaN or infinite, which JSON has not")


def _box_columns(table: LabelTable, rows: slice) -> dict[str, list[Any]]:
    """What the file says of the boxes in these rows, as JSON values."""
    corners = rounded(table.boxes_xyxy[rows], BOX_DECIMALS)
    sides = np.round(corners[:, 2:] - corners[:, :2], BOX_DECIMALS)
    columns: dict[str, list[Any]] = {
        "category_id": table.space.to_category_ids(table.labels[rows]).tolist(),
        "bbox": (np.concatenate([corners[:, :2], sides], axis=1) + 0.0).tolist(),
        "area": np.round(sides.prod(axis=1), BOX_DECIMALS).tolist(),
        "score": rounded(table.scores[rows], SCORE_DECIMALS).tolist(),
    }
    if table.class_scores is not None:
        columns |= written_scores(table.class_scores[rows], np.asarray(table.space.category_ids))
    return columns
