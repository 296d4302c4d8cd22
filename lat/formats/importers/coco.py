"""COCO JSON of any origin: renumbered from 1, boxes clipped to their images, images and categories kept.

Pixel convention: `bbox` is x, y, width, height in continuous coordinates, so that corners are x and x + width.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from lat.core.documents import checked
from lat.formats.importers.box_store import BoxStore
from lat.formats.importers.class_lists import ClassList
from lat.formats.importers.folders import require_files, wrong_root
from lat.formats.importers.source import NO_IMAGE, Box, Image, Importer, Wanted
from lat.formats.importers.streams import json_records, reading
from lat.labels.coco.root_category import ROOT_ID, describe_root, find_root

KIND = "COCO labels (images, annotations, categories)"


class _Category(TypedDict):
    id: Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
    name: str


_LAYOUTS = (  # annotations, images: of the original, of Roboflow, of `lat export`
    ("annotations/instances_{split}.json", "{split}"),
    ("{split}/_annotations.coco.json", "{split}"),
    ("annotations/instances_{split}.json", "images/{split}"),
)


@dataclass(frozen=True)
class Coco(Importer):
    """`annotations/instances_SPLIT.json` and the folder `SPLIT`, or what the two settings name."""

    split: str = "train2017"
    annotations: str = ""  # the file, relative to the root; {split} stands for the split; empty for the usual places
    folder: str = ""  # the images folder, in the same way

    def __post_init__(self) -> None:
        require_files(self.root, "a COCO dataset", self.root)
        if not self._file.is_file() or not self.images_dir.is_dir():
            wanted = (given or usual for given, usual in zip(self._given, _LAYOUTS[0], strict=True))
            expected = " and the folder ".join(wanted).replace("{split}", self.split)
            raise wrong_root(self.root, "a COCO dataset", expected)

    @property
    def _layout(self) -> tuple[str, str]:
        """The first layout whose two parts exist, or else the first one."""
        layouts = [
            tuple((given or usual).replace("{split}", self.split) for given, usual in zip(self._given, layout, strict=True))
            for layout in _LAYOUTS
        ]
        found = (one for one in layouts if (self.root / one[0]).is_file() and (self.root / one[1]).is_dir())
        file, images = next(found, layouts[0])
        return file, images

    @property
    def _given(self) -> tuple[str, str]:
        return self.annotations, self.folder

    @property
    def _file(self) -> Path:
        return self.root / self._layout[0]

    @property
    def images_dir(self) -> Path:
        return self.root / self._layout[1]

    @property
    def annotation_files(self) -> Sequence[Path]:
        return (self._file,)

    @cached_property
    def _categories(self) -> list[dict[str, Any]]:
        return [one for one in self._listed if one is not self._root]

    @cached_property
    def _listed(self) -> list[dict[str, Any]]:
        with reading(self._file, KIND):
            listed = list(json_records(self._file, "categories.item"))
        checked(self._file, listed, list[_Category], "give each category a name, which is a text, and an id", "categories")
        return listed

    @cached_property
    def _root(self) -> dict[str, Any] | None:
        """The root above all classes, if the file has one and no box is of it."""
        root = find_root(self._listed)
        with reading(self._file, KIND):
            if root and any(entry["category_id"] == ROOT_ID for entry in json_records(self._file, "annotations.item")):
                return None
        return root

    @property
    def notes(self) -> Sequence[str]:
        return () if self._root is None else (describe_root(self._root),)

    @cached_property
    def class_list(self) -> ClassList:
        with reading(self._file, KIND):
            names, ids = ([entry[key] for entry in self._categories] for key in ("name", "id"))
            return ClassList.of_names(str(self._file), names, ids)

    def names(self) -> Iterator[str]:
        with reading(self._file, KIND):
            yield from json_records(self._file, "images.item.file_name")

    def images(self, wanted: Wanted) -> Iterator[Image]:
        return read_images(self._file, {entry["id"]: entry["name"] for entry in self._categories}, wanted, self.left_out)


def read_images(path: Path, labels: dict[int, str], wanted: Wanted, left_out: Counter[str]) -> Iterator[Image]:
    """The wanted images of a COCO file with their boxes.

    Args:
        path: the file.
        labels: the label of each category id.
        wanted: see `Importer.images`.
        left_out: boxes of images that are not in the file are counted here.
    """
    seen: set[int | float | str] = set()
    with reading(path, KIND), BoxStore(_boxes(path, labels)) as store:
        for entry in json_records(path, "images.item"):
            if not isinstance(entry["id"], int | float | str) or entry["id"] in seen:
                raise ValueError(f"image {entry['id']!r} is there twice, or its id is no number")
            seen.add(entry["id"])
            boxes = store.boxes(entry["id"])
            if wanted(entry["file_name"]):
                yield Image(entry["file_name"], entry["width"], entry["height"], boxes)
        left_out[NO_IMAGE] += store.left


def _boxes(path: Path, labels: dict[int, str]) -> Iterator[tuple[str | float, Box]]:
    for entry in json_records(path, "annotations.item"):
        x, y, width, height = _numbers(entry)
        if not isinstance(entry["image_id"], int | float | str):
            raise ValueError(f"annotation {entry.get('id')}: `image_id` is {str(entry['image_id'])[:60]}")
        yield entry["image_id"], Box(labels[entry["category_id"]], x, y, x + width, y + height, bool(entry.get("iscrowd")))


def _numbers(entry: dict[str, Any]) -> list[float]:
    """The `bbox` of an annotation: four finite numbers."""
    box = entry["bbox"]
    if isinstance(box, list) and len(box) == 4 and all(type(value) in (int, float) and math.isfinite(value) for value in box):
        return box
    raise ValueError(f"annotation {entry.get('id')}: `bbox` is {str(box)[:60]}, not four finite numbers")
