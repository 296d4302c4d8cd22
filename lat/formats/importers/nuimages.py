"""nuImages: the key frames of all cameras, from the tables of `v1.0-SPLIT`.

Pixel convention: `bbox` has whole numbers xmin, ymin, xmax, ymax, taken as continuous corners, so that the width is xmax - xmin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lat.formats.importers.box_store import BoxStore
from lat.formats.importers.class_lists import ClassList, load_class_list
from lat.formats.importers.folders import require_files
from lat.formats.importers.source import NO_IMAGE, Box, Image, Importer, Wanted, choose
from lat.formats.importers.streams import json_records, reading

_CLASS_LISTS = {"all": "nuimages", "standard": "nuimages_standard"}
_KINDS = {name: f"the table {name} of nuImages" for name in ("sample_data", "category", "object_ann")}
_IMAGE_FORMATS = ("jpg", "png")


@dataclass(frozen=True)
class NuImages(Importer):
    """The folder with `v1.0-SPLIT` (train, val or mini) and `samples`."""

    classes: str = "all"  # all 23 object classes, or the standard 10 of the detection task

    def __post_init__(self) -> None:
        choose("classes", self.classes, tuple(_CLASS_LISTS))
        require_files(self.root, "nuImages", *self.annotation_files, self.root / "samples")

    def _table(self, name: str) -> Path:
        return self.root / f"v1.0-{self.split}" / f"{name}.json"

    @property
    def annotation_files(self) -> Sequence[Path]:
        return tuple(map(self._table, _KINDS))

    @property
    def images_dir(self) -> Path:
        return self.root

    @cached_property
    def class_list(self) -> ClassList:
        return load_class_list(_CLASS_LISTS[self.classes])

    def _records(self, name: str) -> Iterator[dict[str, Any]]:
        with reading(self._table(name), _KINDS[name]):
            yield from json_records(self._table(name), "item")

    def _frames(self) -> Iterator[dict[str, Any]]:
        """The camera images that are annotated."""
        with reading(self._table("sample_data"), _KINDS["sample_data"]):
            for record in self._records("sample_data"):
                if record["is_key_frame"] and record["fileformat"] in _IMAGE_FORMATS:
                    yield record

    def names(self) -> Iterator[str]:
        with reading(self._table("sample_data"), _KINDS["sample_data"]):
            yield from (frame["filename"] for frame in self._frames())

    def images(self, wanted: Wanted) -> Iterator[Image]:
        with reading(self._table("category"), _KINDS["category"]):
            labels = {record["token"]: record["name"] for record in self._records("category")}
        with reading(self._table("object_ann"), _KINDS["object_ann"]):
            store = BoxStore(self._boxes(labels))
        with store, reading(self._table("sample_data"), _KINDS["sample_data"]):
            for frame in self._frames():
                boxes = store.boxes(frame["token"])
                if wanted(frame["filename"]):
                    yield Image(frame["filename"], frame["width"], frame["height"], boxes)
            self.left_out[NO_IMAGE] += store.left

    def _boxes(self, labels: dict[str, str]) -> Iterator[tuple[str, Box]]:
        with reading(self._table("object_ann"), _KINDS["object_ann"]):
            for record in self._records("object_ann"):
                x1, y1, x2, y2 = record["bbox"]
                yield record["sample_data_token"], Box(labels[record["category_token"]], x1, y1, x2, y2)
