"""The output of an importer: the images of one split of a dataset, one by one, with their boxes in pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

from lat.core.errors import InputError
from lat.formats.importers.class_lists import ClassList


class Box(NamedTuple):
    """A box as in its format, in continuous pixel coordinates: a box of only the first pixel is (0, 0, 1, 1)."""

    label: str
    x1: float
    y1: float
    x2: float
    y2: float
    is_crowd: bool = False


class Image(NamedTuple):
    """An image with its boxes.

    Attributes:
        file_name: relative to the images folder of the importer, with forward slashes.
        width: in pixels, of the upright image.
        height: likewise.
        boxes: as annotated; they may leave the image.
        annotation: the annotation file of only this image, if it has one.
    """

    file_name: str
    width: int
    height: int
    boxes: Sequence[Box]
    annotation: Path | None = None


NO_IMAGE = "no such image"
"""The reason for leaving out boxes of images that the dataset does not list."""

Wanted = Callable[[str], bool]
"""Tells from a file name whether to read its image."""


@dataclass(frozen=True)
class Importer(ABC):
    """One split of a dataset under `root`; fields of a subclass are settings of its format.

    An importer that has been made has found its files. Both passes over the images are in an order that does not depend on
    the file system, and hold one image in memory at a time.

    Attributes:
        has_splits: False if the dataset comes in one piece.
        writes_images: True if the images lie inside other files and are written below `out`.
        left_out: boxes that the importer itself leaves out, by reason.

    Raises:
        InputError: if `root` does not have the layout of the format.
    """

    root: Path
    out: Path
    split: str = "train"
    left_out: Counter[str] = field(default_factory=Counter, init=False, compare=False)

    has_splits: ClassVar[bool] = True
    writes_images: ClassVar[bool] = False

    @property
    @abstractmethod
    def class_list(self) -> ClassList:
        """Which labels become which categories."""

    @property
    @abstractmethod
    def images_dir(self) -> Path:
        """The folder to which file names are relative."""

    @property
    def annotation_files(self) -> Sequence[Path]:
        """The annotation files for many images."""
        return ()

    @abstractmethod
    def names(self) -> Iterator[str]:
        """The file name of every image of the split."""

    @abstractmethod
    def images(self, wanted: Wanted) -> Iterator[Image]:
        """Every image of the split that `wanted` accepts; it is called once per image.

        Raises:
            InputError: if an annotation file is not as the format has it.
        """


def choose(key: str, value: str, choices: Sequence[str]) -> None:
    """Check a setting that has a few values.

    Raises:
        InputError: if the value is none of the choices.
    """
    if value not in choices:
        raise InputError(key, f"is '{value}'", f"choose one of {', '.join(choices)}")
