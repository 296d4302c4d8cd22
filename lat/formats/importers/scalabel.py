"""Scalabel JSON, the format of BDD100K and SHIFT: a list of frames, each with its labels.

Pixel convention: `box2d` has the first and the last pixel of a box: corners are (x1, y1, x2 + 1, y2 + 1).

Source: the published conversion of Scalabel to COCO, whose width is x2 - x1 + 1.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lat.formats.importers.folders import image_size
from lat.formats.importers.source import Box, Image, Importer, Wanted
from lat.formats.importers.streams import json_records, reading

KIND = "Scalabel frames (name, labels with category and box2d)"


@dataclass(frozen=True)
class Scalabel(Importer):
    """One file of frames; a subclass says where it is, and which file is the image of a frame."""

    @property
    @abstractmethod
    def labels_file(self) -> Path:
        """The file of the split."""

    def file_name(self, frame: dict[str, Any]) -> str:
        """The image of a frame, relative to the images folder."""
        result: str = frame["name"]
        return result

    @property
    def annotation_files(self) -> Sequence[Path]:
        return (self.labels_file,)

    def _frames(self) -> Iterator[dict[str, Any]]:
        with reading(self.labels_file, KIND):
            with self.labels_file.open("rb") as file:
                is_list = file.read(64).lstrip().startswith(b"[")
            yield from json_records(self.labels_file, "item" if is_list else "frames.item")

    def names(self) -> Iterator[str]:
        with reading(self.labels_file, KIND):
            yield from map(self.file_name, self._frames())

    def images(self, wanted: Wanted) -> Iterator[Image]:
        with reading(self.labels_file, KIND):
            for frame in self._frames():
                if wanted(name := self.file_name(frame)):
                    boxes = [_box(label) for label in frame.get("labels") or () if label.get("box2d")]
                    yield Image(name, *self._size(frame, name), boxes)

    def _size(self, frame: dict[str, Any], name: str) -> tuple[int, int]:
        if size := frame.get("size"):
            return size["width"], size["height"]
        return self.class_list.image_size or image_size(self.images_dir / name)


def _box(label: dict[str, Any]) -> Box:
    box, attributes = label["box2d"], label.get("attributes") or {}
    is_crowd = bool(attributes.get("crowd") or attributes.get("ignored"))
    return Box(label["category"], box["x1"], box["y1"], box["x2"] + 1, box["y2"] + 1, is_crowd)
