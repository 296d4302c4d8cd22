"""All labels of one file as columns: numbers in arrays, images as ranges of rows, without a Python object per box.

Half a million boxes take about 20 MiB this way, against 300 MiB as Python objects, and worker processes share them.
Shape letters: I images, A annotations, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.labels.class_scores import ClassScores
from lat.labels.provenance import Provenance

BOX_DECIMALS = 4
"""Of the corners of a box in a file."""

_CLASSES_SHOWN = 20


@dataclass(frozen=True, eq=False, repr=False)
class LabelTable:
    """Columns of one labels file; the annotations of image i are rows `offsets[i]:offsets[i + 1]`.

    Attributes:
        path: the file.
        space: the label space of `labels`.
        image_ids: (I,) int64, unique, in file order.
        file_names: I file names relative to the images folder.
        sizes_hw: (I, 2) int32 height and width in pixels.
        splits: I values of the key `split`; "" for none.
        offsets: (I + 1,) int64.
        boxes_xyxy: (A, 4) float32, absolute pixels of the original image, inside it, with an area.
        labels: (A,) int64 class indices 0..K-1.
        scores: (A,) float32 in [0, 1]; 1 if the file has none.
        is_crowd: (A,) bool.
        annotation_ids: (A,) int64, positive, unique.
        class_scores: (A, K) float32 in [0, 1], in spaces of more than 64 classes the highest ones, or None.
        provenance: where each annotation came from, or None.
        info: the file's `info`.
        repairs: what was repaired in memory while reading, with counts; the file itself is never changed.
    """

    path: Path
    space: LabelSpace
    image_ids: np.ndarray
    file_names: tuple[str, ...]
    sizes_hw: np.ndarray
    splits: tuple[str, ...]
    offsets: np.ndarray
    boxes_xyxy: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    is_crowd: np.ndarray
    annotation_ids: np.ndarray
    class_scores: ClassScores | None = None
    provenance: Provenance | None = None
    info: dict[str, Any] = field(default_factory=dict)
    repairs: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.image_ids)

    def __repr__(self) -> str:
        return f"LabelTable({self.described()})"

    def described(self) -> str:
        """File, images, boxes, and boxes of each class, in one line."""
        counts = np.bincount(self.labels, minlength=len(self.space)).tolist()
        classes = [f"{name} {count}" for name, count in zip(self.space.class_names, counts, strict=True)]
        shown = ", ".join([*classes[:_CLASSES_SHOWN], *(["..."] if len(classes) > _CLASSES_SHOWN else [])])
        return f"{str(self.path)!r}: {len(self)} images, {self.num_boxes} boxes, {len(classes)} classes: {shown}"

    @property
    def num_boxes(self) -> int:
        return len(self.boxes_xyxy)

    @property
    def image_of_box(self) -> np.ndarray:
        """(A,) int64 image index of each annotation."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def rows(self, i: int) -> slice:
        """The annotation rows of image `i`."""
        return slice(int(self.offsets[i]), int(self.offsets[i + 1]))

    def select(self, images: np.ndarray) -> LabelTable:
        """The table reduced to these images, given as indices (J,), whose order it takes, or as a mask (I,) bool."""
        images = np.flatnonzero(images) if np.asarray(images).dtype == bool else np.asarray(images, dtype=np.int64)
        rows, offsets = _ranges(self.offsets[images], self.offsets[images + 1])
        chosen = replace(
            self,
            image_ids=self.image_ids[images],
            file_names=tuple(self.file_names[i] for i in images),
            sizes_hw=self.sizes_hw[images],
            splits=tuple(self.splits[i] for i in images),
        )
        return chosen._with_annotations(rows, offsets)

    def laid_over(self, images: LabelTable) -> LabelTable:
        """The annotations of this table on the images of another, matched by id; images that this table lacks get none.

        The result has exactly the other's images, in their order; annotations of images that the other lacks are left out.
        """
        places, known = find_ids(images.image_ids, self.image_ids, self._order)
        rows, offsets = _ranges(self.offsets[places], self.offsets[places + known])
        columns = {name: getattr(images, name) for name in ("image_ids", "file_names", "sizes_hw", "splits")}
        return replace(self, **columns)._with_annotations(rows, offsets)

    def image_entries(self, chosen: slice = slice(None)) -> list[dict[str, Any]]:
        """The `images` list of a COCO file with these images, or a range of it."""
        columns = zip(self.image_ids[chosen].tolist(), self.file_names[chosen], self.sizes_hw[chosen].tolist(), strict=True)
        return [{"id": i, "file_name": name, "width": width, "height": height} for i, name, (height, width) in columns]

    def at_least(self, score: float | np.ndarray) -> LabelTable:
        """The table of the same images with only the annotations that score at least `score`.

        `score` may be one number, or one per class, (K,) float.
        """
        return self.where(self.scores >= (score[self.labels] if isinstance(score, np.ndarray) else score))

    def where(self, kept: np.ndarray) -> LabelTable:
        """The table of the same images with only the annotations where `kept` (A,) bool is True."""
        before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
        return self._with_annotations(np.flatnonzero(kept), before[self.offsets])

    def _with_annotations(self, rows: np.ndarray, offsets: np.ndarray) -> LabelTable:
        """The same images with annotations `rows` (A',) of this table, those of image i at `offsets[i]:offsets[i + 1]`."""
        return replace(
            self,
            offsets=offsets,
            boxes_xyxy=self.boxes_xyxy[rows],
            labels=self.labels[rows],
            scores=self.scores[rows],
            is_crowd=self.is_crowd[rows],
            annotation_ids=self.annotation_ids[rows],
            class_scores=None if self.class_scores is None else self.class_scores[rows],
            provenance=None if self.provenance is None else self.provenance[rows],
        )

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.image_ids, kind="stable")

    def index_of(self, image_ids: np.ndarray) -> np.ndarray:
        """Indices (J,) int64 of the images with these ids (J,).

        Raises:
            InputError: if the file lacks an image with one of the ids.
        """
        image_ids = np.asarray(image_ids, dtype=np.int64)
        indices, known = find_ids(image_ids, self.image_ids, self._order)
        if not known.all():
            missing = image_ids[~known]
            raise InputError(self.path, f"image {missing[0]} is not in the file ({len(missing)} images are not)")
        return indices


def _ranges(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All rows (A,) of the ranges from `starts` (J,) up to `ends` (J,), one after another, and their offsets (J + 1,)."""
    counts = ends - starts
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts), offsets


def find_ids(wanted: np.ndarray, ids: np.ndarray, order: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Look up ids (J,) in a column of ids (I,): positions (J,) int64, and (J,) bool: True if found.

    `order` is `np.argsort(ids, kind="stable")`, if already computed. Ids that are not found have position 0.
    """
    if not len(ids):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    order = np.argsort(ids, kind="stable") if order is None else order
    places = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    known = ids[places] == wanted
    return np.where(known, places, 0), known


def have_area(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Whether boxes (N, 4) still have an area once they are written, (N,) bool."""
    corners = np.round(boxes_xyxy.astype(np.float64), BOX_DECIMALS)
    return np.asarray((corners[:, 2:] > corners[:, :2]).all(axis=1))
