"""Pascal VOC: `Annotations/*.xml`, `JPEGImages`, and lists of images in `ImageSets/Main/SPLIT.txt`.

Pixel convention: whole pixels counted from 1, the last one inside the box: corners are (xmin - 1, ymin - 1, xmax, ymax).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, ParseError

from lat.core.errors import InputError
from lat.core.regular_files import read_regular
from lat.formats.importers.class_lists import ClassList
from lat.formats.importers.folders import image_by_stem, image_size, require_files, sorted_names
from lat.formats.importers.source import Box, Image, Importer, Wanted, choose
from lat.formats.importers.streams import MOST_TEXT_BYTES, reading, text_lines

KIND = "a VOC annotation"


@dataclass(frozen=True)
class Voc(Importer):
    """A folder such as `VOCdevkit/VOC2012`; classes are those of `labelmap.txt`, or all names in the annotations, sorted."""

    difficult: str = "crowd"  # what `difficult` objects become: crowd (ignored, as in VOC's evaluation) or box
    classes: str = ""  # the classes, separated by commas; empty to find them

    def __post_init__(self) -> None:
        choose("difficult", self.difficult, ("crowd", "box"))
        expected = (self._annotations, self.images_dir, *((self._list,) if self.split != "all" else ()))
        require_files(self.root, "a VOC dataset (split=all takes every annotation)", *expected)

    @property
    def _annotations(self) -> Path:
        return self.root / "Annotations"

    @property
    def _list(self) -> Path:
        return self.root / "ImageSets" / "Main" / f"{self.split}.txt"

    @property
    def _labelmap(self) -> Path:
        return self.root / "labelmap.txt"

    @property
    def images_dir(self) -> Path:
        return self.root / "JPEGImages"

    @cached_property
    def class_list(self) -> ClassList:
        if self.classes:
            return ClassList.of_names("classes", [name.strip() for name in self.classes.split(",")])
        if listed := self._listed_classes():
            return ClassList.of_names(str(self._labelmap), listed)
        return ClassList.of_names(str(self._annotations), self._found_classes())

    def _listed_classes(self) -> list[str]:
        """The names in `labelmap.txt`, as annotation tools and `lat export` write it, or none."""
        lines = text_lines(self._labelmap, "a list of classes") if self._labelmap.is_file() else []
        names = (line.split(":")[0].strip() for line in lines if line.strip() and not line.startswith("#"))
        return [name for name in names if name != "background"]

    def _found_classes(self) -> list[str]:
        """All names in all annotations, of every split, so that each split has the same classes."""
        names: set[str] = set()
        for stem in self._all_stems():
            names |= {_text(item, "name") for item in self._read(stem).iter("object")}
        return sorted(names)

    def _all_stems(self) -> list[str]:
        return [name[:-4] for name in sorted_names(self._annotations, lambda name: name.endswith(".xml"))]

    @cached_property
    def _stems(self) -> list[str]:
        """The images of the split, in its order."""
        if self.split == "all":
            return self._all_stems()
        stems = [line.split()[0] for line in text_lines(self._list, "a list of images") if line.strip()]
        if not stems:
            raise InputError(self._list, "lists no images", "choose another --split")
        return stems

    @cached_property
    def _image_names(self) -> dict[str, str]:
        return image_by_stem(self.images_dir)

    def _name(self, stem: str) -> str:
        return self._image_names.get(stem, f"{stem}.jpg")

    def _file(self, stem: str) -> Path:
        return self._annotations / f"{stem}.xml"

    def _read(self, stem: str) -> Element:
        path = self._file(stem)
        with reading(path, KIND):
            try:
                return ElementTree.fromstring(read_regular(path, MOST_TEXT_BYTES))
            except (ParseError, LookupError) as error:  # the latter for an encoding that nobody knows
                raise ValueError(error) from None

    def names(self) -> Iterator[str]:
        return map(self._name, self._stems)

    def images(self, wanted: Wanted) -> Iterator[Image]:
        for stem in self._stems:
            if not wanted(self._name(stem)):
                continue
            root, path = self._read(stem), self._file(stem)
            with reading(path, KIND):
                size = root.find("size")
                width, height = (int(_text(size, "width")), int(_text(size, "height"))) if size is not None else (0, 0)
                boxes = [self._box(item) for item in root.iter("object")]
            if not width or not height:
                width, height = image_size(self.images_dir / self._name(stem))
            yield Image(self._name(stem), width, height, boxes, path)

    def _box(self, item: Element) -> Box:
        box = item.find("bndbox")
        if box is None:
            raise ValueError("an object has no bndbox")
        x1, y1, x2, y2 = (float(_text(box, key)) for key in ("xmin", "ymin", "xmax", "ymax"))
        is_crowd = self.difficult == "crowd" and item.findtext("difficult", "0").strip() == "1"
        return Box(_text(item, "name"), x1 - 1, y1 - 1, x2, y2, is_crowd)


def _text(element: Element, key: str) -> str:
    text = element.findtext(key)
    if text is None:
        raise ValueError(f"there is no {key}")
    return text.strip()
