"""ACDC, detection: COCO files of four adverse conditions, with the classes of Cityscapes.

Pixel convention: that of COCO; see `coco`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath

from lat.formats.importers.class_lists import ClassList, load_class_list
from lat.formats.importers.coco import KIND, read_images
from lat.formats.importers.folders import require_files
from lat.formats.importers.source import Image, Importer, Wanted, choose
from lat.formats.importers.streams import json_records, reading

CONDITIONS = ("fog", "night", "rain", "snow")


@dataclass(frozen=True)
class Acdc(Importer):
    """The folder with `gt_detection` and `rgb_anon`."""

    conditions: str = ",".join(CONDITIONS)  # which of them, separated by commas

    def __post_init__(self) -> None:
        for condition in self._conditions:
            choose("conditions", condition, CONDITIONS)
        require_files(self.root, "ACDC", *self.annotation_files, self.images_dir)

    @property
    def _conditions(self) -> list[str]:
        return [name.strip() for name in self.conditions.split(",")]

    def _file(self, condition: str) -> Path:
        return self.root / "gt_detection" / condition / f"instancesonly_{condition}_{self.split}_gt_detection.json"

    @property
    def annotation_files(self) -> Sequence[Path]:
        return tuple(map(self._file, self._conditions))

    @property
    def images_dir(self) -> Path:
        return self.root / "rgb_anon"

    @cached_property
    def class_list(self) -> ClassList:
        return load_class_list("acdc")

    def names(self) -> Iterator[str]:
        for condition in self._conditions:
            with reading(self._file(condition), KIND):
                for name in json_records(self._file(condition), "images.item.file_name"):
                    yield self._place(name, condition)

    def images(self, wanted: Wanted) -> Iterator[Image]:
        for condition in self._conditions:
            path = self._file(condition)
            with reading(path, KIND):
                labels = {entry["id"]: entry["name"] for entry in json_records(path, "categories.item")}
                is_wanted = partial(self._is_wanted, wanted, condition)
                for image in read_images(path, labels, is_wanted, self.left_out):
                    yield image._replace(file_name=self._place(image.file_name, condition))

    def _is_wanted(self, wanted: Wanted, condition: str, name: str) -> bool:
        return wanted(self._place(name, condition))

    def _place(self, name: str, condition: str) -> str:
        """The image file relative to `rgb_anon`, whether the labels name it so, with `rgb_anon` in front, or without folders."""
        parts = PurePosixPath(name).parts
        if len(parts) > 1:
            return "/".join(parts[parts.index("rgb_anon") + 1 :] if "rgb_anon" in parts else parts)
        return f"{condition}/{self.split}/{name.split('_frame_')[0]}/{name}"
