"""YOLO: `data.yaml` with names and image folders, and a text file of `class cx cy w h` lines for each image.

Pixel convention: shares of the image's width and height, continuous: x1 = (cx - w / 2) * width. A line with more numbers is a
polygon, and the box encloses it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lat.core.documents import checked, read_yaml
from lat.core.errors import InputError
from lat.formats.importers.class_lists import ClassList
from lat.formats.importers.folders import image_size, is_image, require_files, wrong_root
from lat.formats.importers.source import Box, Image, Importer, Wanted
from lat.formats.importers.streams import reading, text_lines

KIND = "a YOLO label file (class cx cy w h)"
_Name = str | int | float  # YAML takes 1 for a number


@dataclass(frozen=True)
class Yolo(Importer):
    """The folder with `data.yaml`; `split` is one of its keys, such as train or val."""

    def __post_init__(self) -> None:
        require_files(self.root, "a YOLO dataset", self.root / "data.yaml")
        if self.split not in self._content:
            raise InputError(self._file, f"has no key '{self.split}'", "choose another --split")
        for place in self._places:
            if not os.path.exists(place):  # also for a name that the system refuses
                raise wrong_root(self.root, "a YOLO dataset", f"'{self.split}' of data.yaml, {place}")

    @property
    def _file(self) -> Path:
        return self.root / "data.yaml"

    @cached_property
    def _content(self) -> dict[str, Any]:
        content = read_yaml(self._file, Any)
        if not isinstance(content, dict) or not isinstance(content.get("names"), list | dict):
            raise InputError(self._file, "has no `names`", "list the classes there")
        checked(self._file, content["names"], list[_Name] | dict[_Name, _Name], "write each name as text, in quotes", "names")
        return content

    @property
    def _places(self) -> list[Path]:
        """Folders of images, or lists of them, of this split; relative to `path` of the file where that is a folder here.

        Exports that say `../train/images` and mean `train/images` are understood, as Ultralytics does.
        """
        places = self._content[self.split]
        base = self.root / str(self._content.get("path") or "")
        base = base if os.path.isdir(base) else self.root
        named = [str(place) for place in (places if isinstance(places, list) else [places])]
        return [base / (place if os.path.exists(base / place) else place.removeprefix("../")) for place in named]

    @property
    def images_dir(self) -> Path:
        return self.root

    @property
    def annotation_files(self) -> tuple[Path, ...]:
        return (self._file, *(place for place in self._places if place.is_file()))

    @cached_property
    def class_list(self) -> ClassList:
        names = self._content["names"]
        with reading(self._file, "a YOLO dataset, whose `names` are a list, or numbered from 0"):
            by_index = dict(enumerate(names)) if isinstance(names, list) else {int(key): name for key, name in names.items()}
        indices = sorted(by_index)
        found = ClassList.of_names(str(self._file), [str(by_index[index]) for index in indices])
        return ClassList(found.space, {str(index): (number, False) for number, index in enumerate(indices, start=1)})

    def names(self) -> Iterator[str]:
        for place in self._places:
            if place.is_file():
                lines = text_lines(place, "a list of images")
                yield from (self._relative(place.parent / line.strip()) for line in lines if line.strip())
            else:
                paths = sorted(path for path in place.rglob("*") if is_image(path.name))
                yield from map(self._relative, paths)

    def _relative(self, path: Path) -> str:
        try:
            return path.resolve().relative_to(self.root.resolve()).as_posix()
        except ValueError:
            raise InputError(self._file, f"image {path} is outside {self.root}", "name a root that holds all images") from None

    def images(self, wanted: Wanted) -> Iterator[Image]:
        for name in self.names():
            if wanted(name):
                labels = _labels_of(self.root / name)
                yield self._read(name, labels) if labels.exists() else Image(name, *image_size(self.root / name), ())

    def _read(self, name: str, labels: Path) -> Image:
        width, height = image_size(self.root / name)
        lines = text_lines(labels, KIND)
        with reading(labels, KIND):
            return Image(name, width, height, [_box(line, width, height) for line in lines if line.strip()], labels)


def _labels_of(image: Path) -> Path:
    """The label file of an image: its last folder `images` becomes `labels`."""
    parts = list(image.parent.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts) / f"{image.stem}.txt"


def _box(line: str, width: int, height: int) -> Box:
    label, *rest = line.split()
    numbers = [float(number) for number in rest]
    if len(numbers) > 4 and len(numbers) % 2 == 0:
        xs, ys = numbers[0::2], numbers[1::2]
        return Box(label, min(xs) * width, min(ys) * height, max(xs) * width, max(ys) * height)
    cx, cy, w, h = numbers
    return Box(label, (cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height)
