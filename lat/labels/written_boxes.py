"""Boxes of networks as a label table: rounded and checked as they are written, so that the table is what reading them gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from lat.core.label_space import LabelSpace
from lat.labels.class_scores import SCORE_DECIMALS, class_scores_of
from lat.labels.coco.scan import CLIP_TOLERANCE
from lat.labels.provenance import Provenance, columns_of, file_entry
from lat.labels.table import BOX_DECIMALS, LabelTable

_SHAPES: dict[str, tuple[int, ...]] = {"boxes_xyxy": (4,), "labels": (), "scores": ()}  # of one box


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


def table_of_boxes(
    images: LabelTable,
    space: LabelSpace,
    boxes: Sequence[ImageBoxes],
    provenance: Provenance | Sequence[Sequence[Mapping[str, Any]]] | None = None,
    first_image: int = 0,
) -> LabelTable:
    """The boxes of consecutive images as a table: corners rounded to 4 decimals, scores to 6, annotation ids from 1.

    Corners may lie outside the image by up to `CLIP_TOLERANCE`, as they do in a file.

    Args:
        images: all images.
        space: the label space of the boxes.
        boxes: one entry per image from `first_image` on, float32, inside the image and with an area after rounding.
        provenance: of all boxes, with prior factors of 6 decimals; or one entry per image: for each box {"origin":
            "ground_truth" | "pseudo_label", "space": str, "annotation_id": int or None}, the proposal that it came from; and, if
            a prior weighed its class, "prior": {"source_class": str, "factor": float, "kept": bool}, see `AppliedPrior`.
        first_image: index in `images` of the first image with an entry in `boxes`.

    Raises:
        ValueError: if a box is in another space, outside its image or without area, anything is NaN, some boxes have class scores
            and others have none, or provenance is not that of the boxes.
    """
    for i, one in enumerate(boxes, start=first_image):
        if (one.space.category_ids, one.space.class_names) != (space.category_ids, space.class_names):
            raise ValueError(f"{_name(images, i)}: boxes in space {one.space.name}, not {space.name}")
    columns = {name: [_array(getattr(one, name)) for one in boxes] for name in ("boxes_xyxy", "labels", "scores")}
    counts = [len(each) for each in columns["labels"]]
    of_classes = _class_scores(images, boxes, space)
    boxes_xyxy, labels, scores = (_joined(columns[name], shape) for name, shape in _SHAPES.items())
    rows = _Rows(space, boxes_xyxy, labels, scores, of_classes)
    return table_of_rows(images, space, rows, counts, provenance, first_image)


def table_of_rows(
    images: LabelTable,
    space: LabelSpace,
    boxes: ImageBoxes,
    counts: Sequence[int],
    provenance: Provenance | Sequence[Sequence[Mapping[str, Any]]] | None = None,
    first_image: int = 0,
) -> LabelTable:
    """The same from the boxes of all these images one after another, `counts` of each."""
    assert (boxes.space.category_ids, boxes.space.class_names) == (space.category_ids, space.class_names), "boxes of this space"
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    boxes_xyxy = rounded(_array(boxes.boxes_xyxy), BOX_DECIMALS)
    _check_corners(boxes_xyxy, images, first_image, offsets)
    scores = rounded(_array(boxes.scores), SCORE_DECIMALS)
    _check_finite(scores, images)
    labels, of_classes = _array(boxes.labels).astype(np.int64), boxes.class_scores
    if of_classes is not None:
        _check_finite(vectors := _array(of_classes), images)
        of_classes = class_scores_of(vectors, labels)
    return on_images(
        images,
        range(first_image, first_image + len(counts)),
        space=space,
        offsets=offsets,
        boxes_xyxy=boxes_xyxy.astype(np.float32),
        labels=labels,
        scores=scores.astype(np.float32),
        is_crowd=np.zeros(offsets[-1], bool),
        annotation_ids=np.arange(1, offsets[-1] + 1),
        class_scores=of_classes,
        provenance=_provenance(provenance, offsets),
    )


class _Rows(NamedTuple):
    """The boxes of several images; see `ImageBoxes`."""

    space: LabelSpace
    boxes_xyxy: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    class_scores: np.ndarray | None


def on_images(images: LabelTable, chosen: range, **columns: Any) -> LabelTable:
    """A table of a range of images with these annotations, as read from a file that `write_labels` wrote: without splits."""
    part = slice(chosen.start, chosen.stop)
    return LabelTable(
        path=images.path,
        image_ids=images.image_ids[part],
        file_names=images.file_names[part],
        sizes_hw=images.sizes_hw[part],
        splits=("",) * len(chosen),
        **columns,
    )


def rounded(values: np.ndarray, decimals: int) -> np.ndarray:
    """The values as float64 with so many decimals."""
    return np.round(np.asarray(values).astype(np.float64), decimals)


def _name(images: LabelTable, i: int) -> str:
    return f"{images.path}: image {images.image_ids[i]}"


def _array(column: Any) -> np.ndarray:
    """A column as an array; tensors are copied to the CPU first."""
    return np.asarray(column.cpu() if hasattr(column, "cpu") else column)


def _joined(columns: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The rows of all images, each of `shape`."""
    filled = [each for each in columns if len(each)]
    return np.concatenate(filled) if filled else np.zeros((0, *shape))


def _check_finite(values: np.ndarray, images: LabelTable) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"{images.path}: a score is NaN or infinite, for which JSON has no number")


def _class_scores(images: LabelTable, boxes: Sequence[ImageBoxes], space: LabelSpace) -> np.ndarray | None:
    """The class scores of all boxes; None if no box has any."""
    filled = [one.class_scores for one in boxes if len(one.labels)]
    if filled and all(scores is None for scores in filled):
        return None
    if any(scores is None for scores in filled):
        raise ValueError(f"{images.path}: some boxes have class scores and others have none")
    return _joined([_array(scores) for scores in filled], (len(space),))


def _provenance(entries: Provenance | Sequence[Sequence[Mapping[str, Any]]] | None, offsets: np.ndarray) -> Provenance | None:
    if entries is None:
        return None
    if isinstance(entries, Provenance):
        if len(entries) != offsets[-1]:
            raise ValueError(f"provenance of {len(entries)} boxes for {offsets[-1]}")
        return entries if len(entries) else None
    counts = np.diff(offsets).tolist()
    rows = [
        file_entry(entry)
        for count, of_image in zip(counts, entries, strict=True)
        for _, entry in zip(range(count), of_image, strict=True)
    ]
    return columns_of(rows) if rows else None


def _check_corners(corners: np.ndarray, images: LabelTable, first_image: int, offsets: np.ndarray) -> None:
    """Raise for boxes that `read_labels` would repair or reject."""
    image_of = np.repeat(np.arange(first_image, first_image + len(offsets) - 1), np.diff(offsets))
    borders = images.sizes_hw[image_of][:, [1, 0, 1, 0]]
    inside = ((corners >= -CLIP_TOLERANCE) & (corners <= borders + CLIP_TOLERANCE)).all(axis=1)
    for wrong, what in ((~inside, "leaves the image"), ((corners[:, 2:] <= corners[:, :2]).any(axis=1), "has no area")):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            image, (width, height) = int(image_of[row]), borders[row, :2].tolist()
            where = f"{_name(images, image)}, box {row - int(offsets[image - first_image])}"
            raise ValueError(f"{where}: {corners[row].tolist()} {what} ({width} x {height} pixels)")
