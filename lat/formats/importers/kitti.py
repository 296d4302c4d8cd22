"""KITTI object detection: `label_2/*.txt` beside `image_2`, one line per object.

Pixel convention: left, top, right, bottom as continuous coordinates from 0, as the benchmark's own evaluation measures them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lat.formats.importers.class_lists import ClassList, load_class_list
from lat.formats.importers.folders import image_by_stem, image_size, require_files, sorted_names
from lat.formats.importers.source import Box, Image, Importer, Wanted
from lat.formats.importers.streams import reading, text_lines

KIND = "a KITTI label file (type truncated occluded alpha left top right bottom ...)"


@dataclass(frozen=True)
class Kitti(Importer):
    """The folder with `training`, whose labels are public."""

    split: str = "training"

    def __post_init__(self) -> None:
        require_files(self.root, "KITTI object detection", self._labels, self.images_dir)

    @property
    def _labels(self) -> Path:
        return self.root / self.split / "label_2"

    @property
    def images_dir(self) -> Path:
        return self.root / self.split / "image_2"

    @cached_property
    def class_list(self) -> ClassList:
        return load_class_list("kitti")

    def names(self) -> Iterator[str]:
        return (name for _, name in self._pairs)

    @cached_property
    def _pairs(self) -> list[tuple[str, str]]:
        """Label file and image file of each image."""
        images = image_by_stem(self.images_dir)
        labels = sorted_names(self._labels, lambda name: name.endswith(".txt"))
        return [(name, images.get(name[:-4], f"{name[:-4]}.png")) for name in labels]

    def images(self, wanted: Wanted) -> Iterator[Image]:
        for label_name, name in self._pairs:
            if not wanted(name):
                continue
            path = self._labels / label_name
            with reading(path, KIND):
                boxes = [_box(line) for line in text_lines(path, KIND) if line.strip()]
            yield Image(name, *image_size(self.images_dir / name), boxes, path)


def _box(line: str) -> Box:
    label, _, _, _, *numbers = line.split()
    x1, y1, x2, y2 = map(float, numbers[:4])
    return Box(label, x1, y1, x2, y2)
