"""Synscapes: boxes of `meta/N.json`, with the classes of Cityscapes.

Pixel convention: `bbox2d` is in shares of the image's width and height, continuous: x1 = xmin * width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lat.core.documents import MOST_JSON_BYTES, parse_json
from lat.core.errors import InputError
from lat.core.regular_files import read_regular
from lat.formats.importers.class_lists import ClassList, load_class_list
from lat.formats.importers.folders import image_size, require_files, sorted_names, wrong_root
from lat.formats.importers.source import Box, Image, Importer, Wanted
from lat.formats.importers.streams import reading

KIND = "the description of a Synscapes image (instance.bbox2d, class, occluded)"


@dataclass(frozen=True)
class Synscapes(Importer):
    """The folder with `img` and `meta`; there are no splits."""

    split: str = "all"
    images_folder: str = "rgb"  # rgb (1440 x 720) or rgb-2k (2048 x 1024)
    max_occlusion: float = 0.9  # objects that are hidden by more than this share are left out

    has_splits = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.max_occlusion <= 1.0:
            raise InputError("max_occlusion", f"is {self.max_occlusion}", "choose a number from 0 to 1")
        require_files(self.root, "Synscapes", self._meta, self.images_dir)
        if not self._numbers:
            raise wrong_root(self.root, "Synscapes", "meta/N.json", self._meta)

    @property
    def _meta(self) -> Path:
        return self.root / "meta"

    @property
    def images_dir(self) -> Path:
        return self.root / "img" / self.images_folder

    @cached_property
    def class_list(self) -> ClassList:
        return load_class_list("synscapes")

    @cached_property
    def _numbers(self) -> list[str]:
        names = (name.removesuffix(".json") for name in sorted_names(self._meta, lambda name: name.endswith(".json")))
        return sorted((name for name in names if name.isdigit()), key=int)

    def names(self) -> Iterator[str]:
        return (f"{number}.png" for number in self._numbers)

    def images(self, wanted: Wanted) -> Iterator[Image]:
        for number in self._numbers:
            name, path = f"{number}.png", self._meta / f"{number}.json"
            if wanted(name):
                width, height = image_size(self.images_dir / name)
                with reading(path, KIND):
                    boxes = self._boxes(parse_json(read_regular(path, MOST_JSON_BYTES))["instance"], width, height)
                yield Image(name, width, height, boxes, path)

    def _boxes(self, instance: dict[str, dict[str, Any]], width: int, height: int) -> list[Box]:
        found = []
        for key, box in instance["bbox2d"].items():
            label = str(instance["class"][key])
            if label not in self.class_list.labels and label not in self.class_list.ignored:
                continue  # classes without boxes in Cityscapes, such as poles and signs
            if instance["occluded"][key] > self.max_occlusion:
                self.left_out[f"hidden by more than {self.max_occlusion:g}"] += 1
                continue
            corners = (box["xmin"] * width, box["ymin"] * height, box["xmax"] * width, box["ymax"] * height)
            found.append(Box(label, *corners))
        return found
