"""Truth and labels of the same images as columns, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from lat.core.errors import InputError
from lat.labels.table import LabelTable

if TYPE_CHECKING:
    from lat.core.structures import LabeledBoxes

ID_LIMIT = 5


@dataclass(frozen=True, eq=False)
class BoxColumns:
    """Boxes of all images, one row per box: image index 0..I-1 in ascending image id, box, class index, score, crowd flag."""

    image: np.ndarray
    boxes_xyxy: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    is_crowd: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> BoxColumns:
        """The chosen rows (bool mask or int64 indices) of every column."""
        return BoxColumns(*(getattr(self, column.name)[rows] for column in fields(self)))

    def by_image(self, count: int) -> list[BoxColumns]:
        """The boxes of each of `count` images, in index order."""
        order = np.argsort(self.image, kind="stable")
        return [self[rows] for rows in np.split(order, np.searchsorted(self.image[order], np.arange(1, count)))]


def paired_columns(truth: LabelTable, labels: LabelTable | Sequence[LabeledBoxes]) -> tuple[BoxColumns, BoxColumns]:
    """The columns of truth, including crowd boxes, and of labels, without crowd boxes.

    Args:
        truth: a labels file.
        labels: a labels file of the same images, matched by image id, with the same categories, matched by id; or the boxes
            of each image, in the order of the truth's images.

    Raises:
        InputError: if the categories differ, or an image is in only one file.
    """
    places = np.argsort(np.argsort(truth.image_ids))  # by ascending image id, as COCO orders boxes of equal scores
    wanted = _table_columns(truth, places)
    if isinstance(labels, LabelTable):
        return wanted, _matched_columns(truth, labels, places)
    return wanted, _listed_columns(truth, labels, places)


def _table_columns(table: LabelTable, places: np.ndarray) -> BoxColumns:
    """Columns of a labels file whose image i has index `places[i]` (I,) int64."""
    image = np.repeat(places, np.diff(table.offsets))
    return BoxColumns(image, table.boxes_xyxy, table.labels, table.scores, table.is_crowd)


def _matched_columns(truth: LabelTable, labels: LabelTable, places: np.ndarray) -> BoxColumns:
    _check_categories(truth, labels)
    for one, other in ((truth, labels), (labels, truth)):
        missing = np.setdiff1d(one.image_ids, other.image_ids)
        if len(missing):
            shown = ", ".join(map(str, missing[:ID_LIMIT])) + (", ..." if len(missing) > ID_LIMIT else "")
            what = f"lacks {len(missing)} of the images of {one.path}: image id {shown}"
            raise InputError(other.path, what, "score labels of the same images")
    columns = _table_columns(labels, places[truth.index_of(labels.image_ids)])
    return columns[~columns.is_crowd]


def _check_categories(truth: LabelTable, labels: LabelTable) -> None:
    if truth.space.categories() == labels.space.categories():
        return
    lists = tuple(f"{table.path}: {_category_list(table)}" for table in (truth, labels))
    what = f"its categories are not those of {truth.path}"
    raise InputError(labels.path, what, "score labels in the label space of the truth", lists)


def _category_list(table: LabelTable) -> str:
    return ", ".join(f"{i} {name}" for i, name in zip(table.space.category_ids, table.space.class_names, strict=True))


def _listed_columns(truth: LabelTable, labels: Sequence[LabeledBoxes], places: np.ndarray) -> BoxColumns:
    assert len(labels) == len(truth), "one entry per image of the truth"
    assert all(boxes.space.categories() == truth.space.categories() for boxes in labels), "labels in the truth's label space"
    counts = [len(boxes) for boxes in labels]
    return BoxColumns(
        image=np.repeat(places, counts),
        boxes_xyxy=np.concatenate([np.zeros((0, 4), np.float32), *(boxes.boxes_xyxy.cpu().numpy() for boxes in labels)]),
        labels=np.concatenate([np.zeros(0, np.int64), *(boxes.labels.cpu().numpy() for boxes in labels)]),
        scores=np.concatenate([np.zeros(0, np.float32), *(boxes.scores.cpu().numpy() for boxes in labels)]),
        is_crowd=np.zeros(sum(counts), bool),
    )
