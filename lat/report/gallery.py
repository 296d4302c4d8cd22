"""Data of one source and target for the page: an index of all images and boxes, and pages with the boxes' corners.

Shape letters: J images shown, A boxes in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lat.core.origin import Origin
from lat.data.dataset import DetectionDataset
from lat.evaluation.box_doubt import PARTS, WEIGHTS, Doubt
from lat.labels.table import LabelTable
from lat.report.differences import find_differences

PAGE_IMAGES = 50  # per file of boxes
LOW_SCORE = 0.7  # labels with a lower score are shown as low confidence
OVERLOOKED = 0.5  # images with at least this ObjectLab overlooked score are shown as missing a label
DISAGREES = 0.5  # labels with at least this much doubt from the other label spaces are shown as disputed
FLAGS = {"kept": 1, "moved": 2, "added": 4, "changed": 8, "low": 16, "disputed": 32}


@dataclass(frozen=True)
class Gallery:
    """One source and target: the source's images with all their labels.

    Attributes:
        source, target: names of the datasets.
        dataset: the training images of the source with their ground truth.
        pseudo: labels of those images by the target's upstream detector.
        transferred: transferred labels of those images, in the target's label space like `pseudo`; all tables have the same
            images in the same order.
        doubt: the doubt of the transferred labels.
        labels_sha256: hash of the file of the transferred labels.
        truth: their known labels in the target's label space, or None.
    """

    source: str
    target: str
    dataset: DetectionDataset
    pseudo: LabelTable
    transferred: LabelTable
    doubt: Doubt
    labels_sha256: str
    truth: LabelTable | None = None

    def __post_init__(self) -> None:
        for table in (self.pseudo, self.transferred, self.truth):
            assert table is None or np.array_equal(table.image_ids, self.dataset.labels.image_ids), "tables of the same images"


def choose_images(gallery: Gallery, most: int) -> np.ndarray:
    """Indices (J,) of the images to show, most doubtful first.

    If there are more than `most`, two thirds of those shown are the most doubtful, and the rest spread evenly over the others.
    """
    order = np.lexsort((np.arange(len(gallery.dataset)), -gallery.doubt.images.round(6)))
    first = len(order) if len(order) <= most else most - most // 3
    rest = order[first:]
    spread = np.linspace(0, max(len(rest) - 1, 0), min(most - first, len(rest))).round().astype(np.int64)
    return np.concatenate([order[:first], rest[spread]]).astype(np.int64)


class GalleryData:
    """The index and the pages of one gallery."""

    def __init__(self, gallery: Gallery, images: np.ndarray) -> None:
        self.gallery, self.images = gallery, images
        self._source = gallery.dataset.labels.select(images)
        self._pseudo = gallery.pseudo.select(images)
        self._transferred = gallery.transferred.select(images)
        self._truth = gallery.truth.select(images) if gallery.truth else None
        rows = [np.arange(r.start, r.stop) for r in map(gallery.transferred.rows, images.tolist())]
        self._rows = np.concatenate([np.zeros(0, np.int64), *rows])
        self.differences = find_differences(self._source, self._pseudo, self._transferred)
        self._flags = self._all_flags()

    def _all_flags(self) -> np.ndarray:
        marks = [FLAGS[mark.value] for found in self.differences for mark in found.marks]
        changed = [bool(name) for found in self.differences for name in found.previous_classes]
        flags = np.array(marks, np.int64) + FLAGS["changed"] * np.array(changed, np.int64)
        flags += FLAGS["low"] * (self._transferred.scores < LOW_SCORE)
        result: np.ndarray = flags + FLAGS["disputed"] * (self.gallery.doubt.parts["agreement"][self._rows] >= DISAGREES)
        return result

    def index(self) -> dict[str, Any]:
        """The data for filtering and sorting: names, sizes and doubt of images, classes, scores and marks of boxes."""
        gallery, heights_widths = self.gallery, self._source.sizes_hw
        provenance = self._transferred.provenance
        return {
            "source": gallery.source,
            "target": gallery.target,
            "sourceClasses": list(self._source.space.class_names),
            "targetClasses": list(self._transferred.space.class_names),
            "spaces": [] if provenance is None else list(provenance.spaces),
            "parts": list(PARTS),
            "counted": list(WEIGHTS),
            "flags": FLAGS,
            "pageImages": PAGE_IMAGES,
            "images": {
                "ids": self._source.image_ids.tolist(),
                "names": list(self._source.file_names),
                "rows": self.images.tolist(),
                "widths": heights_widths[:, 1].tolist(),
                "heights": heights_widths[:, 0].tolist(),
                "doubts": _percent(gallery.doubt.images[self.images]),
                "overlooked": np.flatnonzero(gallery.doubt.overlooked[self.images] > OVERLOOKED).tolist(),
            },
            "boxes": {
                "offsets": self._transferred.offsets.tolist(),
                "labels": self._transferred.labels.tolist(),
                "scores": _percent(self._transferred.scores),
                "doubts": _percent(gallery.doubt.boxes[self._rows]),
                "flags": self._flags.tolist(),
                "ids": self._transferred.annotation_ids.tolist(),
            },
            "dropped": self._dropped(),
        }

    def _dropped(self) -> dict[str, list[int]]:
        rows = [np.array(found.dropped, np.int64) + self._source.offsets[i] for i, found in enumerate(self.differences)]
        offsets = np.concatenate([[0], np.cumsum([len(found.dropped) for found in self.differences])])
        return {
            "offsets": offsets.astype(int).tolist(),
            "labels": self._source.labels[np.concatenate([np.zeros(0, np.int64), *rows])].tolist(),
        }

    def pages(self) -> Iterator[dict[str, Any]]:
        """The boxes of `PAGE_IMAGES` images after another, as columns."""
        for start in range(0, len(self.images), PAGE_IMAGES):
            part = np.arange(start, min(start + PAGE_IMAGES, len(self.images)))
            yield {
                "source": _columns(self._source.select(part)),
                "pseudo": _columns(self._pseudo.select(part)),
                "transferred": self._transferred_columns(part),
                "truth": _columns(self._truth.select(part)) if self._truth else None,
                "dropped": [list(self.differences[i].dropped) for i in part],
            }

    def _transferred_columns(self, part: np.ndarray) -> dict[str, Any]:
        table = self._transferred.select(part)
        found = [self.differences[i] for i in part]
        rows = slice(int(self._transferred.offsets[part[0]]), int(self._transferred.offsets[part[-1] + 1]))
        names = [name for one in found for name in one.previous_classes]
        classes = {name: place for place, name in enumerate(table.space.class_names)}
        columns = {
            **_columns(table),
            "flags": self._flags[rows].tolist(),
            "was": [classes.get(name, -1) for name in names],
            "sourceRows": [row for one in found for row in one.source_rows],
            "doubts": _percent(self.gallery.doubt.boxes[self._rows[rows]]),
            "parts": [_percent(self.gallery.doubt.parts[name][self._rows[rows]]) for name in PARTS],
        }
        if (origins := table.provenance) is not None:
            columns["origins"] = [Origin(origin).name.lower() for origin in origins.origin.tolist()]
            columns["spaces"] = origins.space.tolist()
            columns["from"] = origins.annotation_ids.tolist()
        return columns


def _columns(table: LabelTable) -> dict[str, Any]:
    return {
        "offsets": table.offsets.tolist(),
        "corners": [round(value, 1) for value in table.boxes_xyxy.flatten().tolist()],
        "labels": table.labels.tolist(),
        "scores": _percent(table.scores),
        "ids": table.annotation_ids.tolist(),
        "crowds": np.flatnonzero(table.is_crowd).tolist(),
    }


def _percent(values: np.ndarray) -> list[int]:
    result: list[int] = np.clip(np.round(100 * values), 0, 100).astype(int).tolist()
    return result


def as_script(key: str, value: Any) -> str:
    """A value of JSON types as a script that passes it to the page, because a page from disk may not read other files.

    All but ASCII, and what HTML could take for markup, is written as escapes.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return f"lat.receive({json.dumps(key)},{escape_markup(text)});\n"


def escape_markup(text: str) -> str:
    """JSON text of the same value, without characters of HTML markup."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
