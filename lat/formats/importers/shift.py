"""SHIFT, two-dimensional detection: one view of one kind of shift at one frame rate.

Pixel convention: that of Scalabel; see `scalabel`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lat.core.errors import InputError
from lat.formats.importers.class_lists import ClassList, load_class_list
from lat.formats.importers.folders import require_files
from lat.formats.importers.scalabel import Scalabel


@dataclass(frozen=True)
class Shift(Scalabel):
    """The folder with `discrete`; `img.zip` of each view must be unpacked into a folder `img` beside it."""

    shift: str = "discrete"  # kind of shift: discrete, continuous/1x, continuous/10x or continuous/100x
    framerate: str = "images"  # images (1 a second) or videos (10)
    view: str = "front"  # camera

    def __post_init__(self) -> None:
        require_files(self.root, "SHIFT", self.labels_file)
        archive = self._folder / "img.zip"
        if archive.is_file() and not self.images_dir.is_dir():
            raise InputError(archive, "is not unpacked", f"unpack it into {self.images_dir}")
        require_files(self.root, "SHIFT", self.images_dir)

    @property
    def _folder(self) -> Path:
        return self.root / self.shift / self.framerate / self.split / self.view

    @property
    def labels_file(self) -> Path:
        return self._folder / "det_2d.json"

    @property
    def images_dir(self) -> Path:
        return self._folder / "img"

    def file_name(self, frame: dict[str, Any]) -> str:
        return f"{frame['videoName']}/{frame['name']}"

    @cached_property
    def class_list(self) -> ClassList:
        return load_class_list("shift")
