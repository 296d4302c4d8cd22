"""Truth and labels of the same images as columns, side by side."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from lat.core.errors import InputError
from lat.core.remote import name_of
from lat.labels.chunks import chunks_of
from lat.labels.table import LabelTable

if TYPE_CHECKING:
    from lat.core.label_space import LabelSpace
    from lat.core.structures import LabeledBoxes

ID_LIMIT = 5


@dataclass(frozen=True, eq=False)
class BoxColumns:
    """Boxes of all images, one row per box: image index 0..I-1 in ascending image id, box, class index, score, crowd flag.

    Rows are in the order of `image`.
    """

    image: np.ndarray
    boxes_xyxy: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    is_crowd: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> BoxColumns:
        """The chosen rows (bool mask or int64 indices) of every column."""
        return BoxColumns(*(getattr(self, column.name)[rows] for column in fields(self)))

    def of(self, images: range) -> BoxColumns:
        """The boxes of consecutive images; views, not copies."""
        start, stop = np.searchsorted(self.image, (images.start, images.stop))
        return BoxColumns(*(getattr(self, column.name)[start:stop] for column in fields(self)))

    def offsets(self, images: range) -> np.ndarray:
        """(len(images) + 1,) int64: the rows of each of consecutive images, as in a `LabelTable`."""
        return np.searchsorted(self.image, np.arange(images.start, images.stop + 1))


def paired_columns(truth: LabelTable, labels: LabelTable | FoundBoxes | Iterable[LabeledBoxes]) -> tuple[BoxColumns, BoxColumns]:
    """The columns of truth, including crowd boxes, and of labels, without crowd boxes.

    Args:
        truth: a labels file.
        labels: a labels file of the same images, matched by image id, with the same categories, matched by id; or the boxes
            of each image, in the order of the truth's images, of which only a chunk is in memory at a time, or as `FoundBoxes`.

    Raises:
        InputError: if the categories differ, or an image is in only one file.
    """
    places = np.argsort(np.argsort(truth.image_ids))  # by ascending image id, as COCO orders boxes of equal scores
    wanted = _table_columns(truth, places)
    if isinstance(labels, LabelTable):
        return wanted, _matched_columns(truth, labels, places)
    if isinstance(labels, FoundBoxes):
        return wanted, labels.columns(places)
    return wanted, _listed_columns(truth, labels, places)


def _table_columns(table: LabelTable, places: np.ndarray) -> BoxColumns:
    """Columns of a labels file whose image i has index `places[i]` (I,) int64."""
    image = np.repeat(places, np.diff(table.offsets))
    return _in_order(BoxColumns(image, table.boxes_xyxy, table.labels, table.scores, table.is_crowd))


def _in_order(columns: BoxColumns) -> BoxColumns:
    """The rows by ascending image, those of one image in their order."""
    is_in_order = bool((np.diff(columns.image) >= 0).all())
    return columns if is_in_order else columns[np.argsort(columns.image, kind="stable")]


def _matched_columns(truth: LabelTable, labels: LabelTable, places: np.ndarray) -> BoxColumns:
    _check_categories(truth, labels)
    for one, other in ((truth, labels), (labels, truth)):
        missing = np.sort(one.image_ids[~np.isin(one.image_ids, other.image_ids)])
        if len(missing):
            shown = ", ".join(map(str, missing[:ID_LIMIT])) + (", ..." if len(missing) > ID_LIMIT else "")
            what = f"lacks {len(missing)} of the images of {one.path}: image id {shown}"
            raise InputError(other.path, what, "score labels of the same images")
    columns = _table_columns(labels, places[truth.index_of(labels.image_ids)])
    return columns[~columns.is_crowd] if columns.is_crowd.any() else columns


def _check_categories(truth: LabelTable, labels: LabelTable) -> None:
    if truth.space.categories() == labels.space.categories():
        return
    lists = tuple(f"{table.path}: {_category_list(table)}" for table in (truth, labels))
    what = f"its categories are not those of {truth.path}"
    remedy = f"score labels in the label space of the truth, or run `{_comparison(truth, labels)}`"
    raise InputError(labels.path, what, remedy, lists)


def _comparison(truth: LabelTable, labels: LabelTable) -> str:
    """The command that compares labels of different class lists."""
    return shlex.join(["lat", "compare", name_of(truth.path), name_of(labels.path)])


def _category_list(table: LabelTable) -> str:
    return ", ".join(f"{i} {name}" for i, name in zip(table.space.category_ids, table.space.class_names, strict=True))


def _listed_columns(truth: LabelTable, labels: Iterable[LabeledBoxes], places: np.ndarray) -> BoxColumns:
    found, left = FoundBoxes(truth.space), iter(labels)
    for images in chunks_of(len(truth)):
        found.add(list(islice(left, len(images))))
    assert next(left, None) is None, "one entry per image of the truth"
    return found.columns(places)


class FoundBoxes:
    """The boxes of one image after another, of which only what AP needs is kept.

    Args:
        space: their label space.
    """

    def __init__(self, space: LabelSpace) -> None:
        self.space = space
        self._counts, self._chunks = [np.zeros(0, np.int64)], [_joined(())]

    def add(self, images: Sequence[LabeledBoxes]) -> None:
        """Add the boxes of each of the next images."""
        assert all(boxes.space.categories() == self.space.categories() for boxes in images), "labels in the truth's label space"
        self._counts.append(np.array([len(boxes) for boxes in images], np.int64))
        self._chunks.append(_joined(images))

    def columns(self, places: np.ndarray) -> BoxColumns:
        """All boxes; image i has index `places[i]` (I,) int64."""
        counts = np.concatenate(self._counts)
        assert len(counts) == len(places), "one entry per image of the truth"
        boxes_xyxy, classes, scores = (np.concatenate(column) for column in zip(*self._chunks, strict=True))
        image = np.repeat(places, counts)
        return _in_order(BoxColumns(image, boxes_xyxy, classes, scores, np.zeros(len(image), bool)))


def _joined(some: Sequence[LabeledBoxes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (N, 4) float32, classes (N,) int64 and scores (N,) float32 of several images."""
    return (
        np.concatenate([np.zeros((0, 4), np.float32), *(boxes.boxes_xyxy.cpu().numpy() for boxes in some)]),
        np.concatenate([np.zeros(0, np.int64), *(boxes.labels.cpu().numpy() for boxes in some)]),
        np.concatenate([np.zeros(0, np.float32), *(boxes.scores.cpu().numpy() for boxes in some)]),
    )
