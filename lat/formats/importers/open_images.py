"""Open Images: boxes in one CSV file per split, class names in another, one folder of images per split.

Pixel convention: XMin, XMax, YMin, YMax are shares of the image's width and height, continuous. `IsGroupOf` boxes are crowd
boxes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lat.formats.importers.box_store import BoxStore
from lat.formats.importers.class_lists import ClassList
from lat.formats.importers.folders import image_size, require_files, sorted_names, wrong_root
from lat.formats.importers.source import NO_IMAGE, Box, Image, Importer, Wanted
from lat.formats.importers.streams import reading

KIND = "boxes of Open Images (ImageID, LabelName, XMin, XMax, YMin, YMax, IsGroupOf)"

_BOX_FILES = ("oidv6-{split}-annotations-bbox.csv", "{split}-annotations-bbox.csv")
_CLASS_FILES = ("oidv7-class-descriptions-boxable.csv", "class-descriptions-boxable.csv")


@dataclass(frozen=True)
class OpenImages(Importer):
    """CSV files in the root, images in the folder `SPLIT`; missing images are skipped, since few people have all of them."""

    def __post_init__(self) -> None:
        require_files(self.root, "Open Images", self.images_dir)
        for names in (_CLASS_FILES, _BOX_FILES):
            if not any((self.root / name.format(split=self.split)).is_file() for name in names):
                raise wrong_root(self.root, "Open Images", " or ".join(name.format(split=self.split) for name in names))

    def _find(self, names: Sequence[str]) -> Path:
        paths = (self.root / name.format(split=self.split) for name in names)
        return next(path for path in paths if path.is_file())

    @property
    def images_dir(self) -> Path:
        return self.root / self.split

    @property
    def annotation_files(self) -> Sequence[Path]:
        return (self._find(_CLASS_FILES), self._find(_BOX_FILES))

    @cached_property
    def class_list(self) -> ClassList:
        path = self._find(_CLASS_FILES)
        with reading(path, "class names of Open Images (/m/..., name)"), path.open(encoding="utf-8-sig", newline="") as file:
            rows = [(key, name) for key, name in csv.reader(file) if key.startswith("/m/")]
            found = ClassList.of_names(str(path), [name for _, name in rows])
            return ClassList(found.space, {key: (number, False) for number, (key, _) in enumerate(rows, start=1)})

    def names(self) -> Iterator[str]:
        """The images that exist; the box file names an image once per box, and images without boxes not at all."""
        return iter(sorted_names(self.images_dir, lambda name: name.endswith(".jpg")))

    def images(self, wanted: Wanted) -> Iterator[Image]:
        with BoxStore(self._rows()) as store:
            for name in self.names():
                shares = store.boxes(name.removesuffix(".jpg"))
                if wanted(name):
                    width, height = image_size(self.images_dir / name)
                    yield Image(name, width, height, [_in_pixels(box, width, height) for box in shares])
            self.left_out[NO_IMAGE] += store.left

    def _rows(self) -> Iterator[tuple[str, Box]]:
        path = self._find(_BOX_FILES)
        with reading(path, KIND), path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                x1, y1, x2, y2 = (float(row[key]) for key in ("XMin", "YMin", "XMax", "YMax"))
                yield row["ImageID"], Box(row["LabelName"], x1, y1, x2, y2, row.get("IsGroupOf") == "1")


def _in_pixels(box: Box, width: int, height: int) -> Box:
    return box._replace(x1=box.x1 * width, y1=box.y1 * height, x2=box.x2 * width, y2=box.y2 * height)
