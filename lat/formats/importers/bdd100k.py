"""BDD100K, detection: the labels of 2020, or those of 2018 with their old class names.

Pixel convention: that of Scalabel; see `scalabel`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lat.formats.importers.class_lists import ClassList, load_class_list
from lat.formats.importers.folders import require_files
from lat.formats.importers.scalabel import Scalabel

_FILES = ("labels/det_20/det_{split}.json", "labels/bdd100k_labels_images_{split}.json")


@dataclass(frozen=True)
class Bdd100k(Scalabel):
    """The folder with `images/100k` and `labels`."""

    def __post_init__(self) -> None:
        require_files(self.root, "BDD100K", self.labels_file, self.images_dir)

    @property
    def labels_file(self) -> Path:
        paths = [self.root / name.format(split=self.split) for name in _FILES]
        return next((path for path in paths if path.is_file()), paths[0])

    @property
    def images_dir(self) -> Path:
        return self.root / "images" / "100k" / self.split

    @cached_property
    def class_list(self) -> ClassList:
        return load_class_list("bdd100k")
