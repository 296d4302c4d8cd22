"""Cityscapes: boxes around the visible part of each instance, from the polygons or from the instance images.

Pixel convention: polygons and instance images mark whole pixels, and the pixel of a polygon's corner belongs to it; a box goes
from the first marked pixel to one past the last: (xmin, ymin, xmax + 1, ymax + 1). Both sources give the same boxes.

Labels that end in `group` stand for several objects that were not separated: crowd boxes. In instance images all groups of a
class share one value, and each connected part becomes a crowd box.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from lat.core.documents import MOST_JSON_BYTES, parse_json
from lat.core.regular_files import read_regular
from lat.formats.importers.class_lists import ClassList, load_class_list
from lat.formats.importers.folders import require_files, sorted_folders, sorted_names, wrong_root
from lat.formats.importers.source import Box, Image, Importer, Wanted, choose
from lat.formats.importers.streams import reading
from lat.formats.importers.visible import visible_boxes

_NOT_DRAWN = "license plate"  # has no id in Cityscapes and hides nothing
_SUFFIXES = {"polygons": "_gtFine_polygons.json", "instance_ids": "_gtFine_instanceIds.png"}
_CLASS_IDS = {  # of instance images: the thousands of an instance's value, or the value of a group
    **{24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus"},
    **{29: "caravan", 30: "trailer", 31: "train", 32: "motorcycle", 33: "bicycle"},
}


@dataclass(frozen=True)
class Cityscapes(Importer):
    """The folder with `gtFine` and `leftImg8bit`."""

    boxes: str = "polygons"  # from polygons, or from instance_ids: the PNG files

    def __post_init__(self) -> None:
        choose("boxes", self.boxes, tuple(_SUFFIXES))
        require_files(self.root, "Cityscapes", self._labels, self.images_dir / self.split)
        if not self._stems:
            raise wrong_root(self.root, "Cityscapes", f"gtFine/{self.split}/CITY/*{self._suffix}", self._labels)

    @property
    def _suffix(self) -> str:
        return _SUFFIXES[self.boxes]

    @property
    def _labels(self) -> Path:
        return self.root / "gtFine" / self.split

    @property
    def images_dir(self) -> Path:
        return self.root / "leftImg8bit"

    @cached_property
    def class_list(self) -> ClassList:
        return load_class_list("cityscapes")

    @cached_property
    def _stems(self) -> list[str]:
        """`CITY/CITY_SEQUENCE_FRAME` of each image."""
        return [
            f"{city.name}/{name.removesuffix(self._suffix)}"
            for city in sorted_folders(self._labels)
            for name in sorted_names(city, lambda name: name.endswith(self._suffix))
        ]

    def _name(self, stem: str) -> str:
        return f"{self.split}/{stem}_leftImg8bit.png"

    def names(self) -> Iterator[str]:
        return map(self._name, self._stems)

    def images(self, wanted: Wanted) -> Iterator[Image]:
        read = self._read_polygons if self.boxes == "polygons" else self._read_instances
        for stem in self._stems:
            if wanted(self._name(stem)):
                path = self._labels / f"{stem}{self._suffix}"
                with reading(path, "an annotation of Cityscapes (imgHeight, imgWidth, objects)"):
                    width, height, boxes = read(path)
                yield Image(self._name(stem), width, height, boxes, path)

    def _read_polygons(self, path: Path) -> tuple[int, int, list[Box]]:
        content = parse_json(read_regular(path, MOST_JSON_BYTES))
        width, height = content["imgWidth"], content["imgHeight"]
        drawn = [one for one in content["objects"] if not one.get("deleted") and one["label"] != _NOT_DRAWN]
        known = {*self.class_list.labels, *self.class_list.ignored}
        chosen = [i for i, one in enumerate(drawn) if one["label"] in known]
        polygons = [[(x, y) for x, y in one["polygon"]] for one in drawn]
        boxes = []
        for i, corners in zip(chosen, visible_boxes(polygons, chosen, (width, height)), strict=True):
            if corners is None:
                self.left_out["nothing visible"] += 1
            else:
                boxes.append(Box(drawn[i]["label"], *corners))
        return width, height, boxes

    def _read_instances(self, path: Path) -> tuple[int, int, list[Box]]:
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if values is None or values.ndim != 2:
            raise ValueError("not a grey image of 16 bits")
        boxes = [box for value, name in _CLASS_IDS.items() for box in _group_boxes(values, value, f"{name}group")]
        return values.shape[1], values.shape[0], boxes + _instance_boxes(values)


def _group_boxes(values: np.ndarray, value: int, label: str) -> list[Box]:
    """One box per connected part of an instance image (H, W) with this value."""
    mask = values == value
    if not mask.any():
        return []
    count, _, figures, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return [Box(label, x, y, x + w, y + h) for x, y, w, h, _ in figures[1:count].astype(float).tolist()]


def _instance_boxes(values: np.ndarray) -> list[Box]:
    """One box per instance of an instance image (H, W), in the order of their values."""
    ys, xs = np.nonzero(values >= 1000)
    found, places = np.unique(values[ys, xs], return_inverse=True)
    lows, highs = np.full((len(found), 2), np.iinfo(np.int64).max), np.full((len(found), 2), -1)
    points = np.stack([xs, ys], axis=1)
    np.minimum.at(lows, places, points)
    np.maximum.at(highs, places, points)
    corners = np.concatenate([lows, highs + 1], axis=1).astype(float).tolist()
    labels = [_CLASS_IDS.get(value // 1000) for value in found.tolist()]
    return [Box(label, *box) for label, box in zip(labels, corners, strict=True) if label is not None]
