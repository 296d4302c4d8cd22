"""What an importer yields: the images of one split of a dataset, one by one, with their boxes in pixels."""

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
    """A box as annotated, in continuous pixel coordinates: a box of the first pixel alone is (0, 0, 1, 1)."""

    label: str
    x1: float
    y1: float
    x2: float
    y2: float
    is_crowd: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether the label is text and the corners are numbers that a float holds, and not what else a file may have there."""
        return type(self.label) is str and all(type(value) is float or _is_moderate(value) for value in self[1:5])


def _is_moderate(value: object) -> bool:
    return type(value) is int and abs(value) < 1 << 63


class Image(NamedTuple):
    """An image with its boxes.

    Attributes:
        file_name: relative to the images folder of the importer, with forward slashes.
        width: in pixels, of the upright image.
        height: likewise.
        boxes: as annotated; they may reach beyond the image.
        annotation: the annotation file of only this image, if it has one.
    """

    file_name: str
    width: int
    height: int
    boxes: Sequence[Box]
    annotation: Path | None = None


NO_IMAGE = "no such image"
"""Why a box is left out if the dataset does not list its image."""

Wanted = Callable[[str], bool]
"""Whether to read the image with this file name."""


@dataclass(frozen=True)
class Importer(ABC):
    """One split of a dataset under `root`; fields of a subclass are settings of its format.

    The constructor checks that the files exist. Both passes over the images have an order that does not depend on the file
    system, and hold one image in memory at a time.

    Attributes:
        has_splits: False if the dataset comes in one piece.
        writes_images: True if the images lie inside other files and are written below `out`.
        left_out: boxes that the importer itself leaves out, by reason.

    Raises:
        InputError: if `root` lacks files of the format.
    """

    root: Path
    out: Path
    split: str = "train"
    left_out: Counter[str] = field(default_factory=Counter, init=False, compare=False)

    has_splits: ClassVar[bool] = True
    writes_images: ClassVar[bool] = False

    @property
    def notes(self) -> Sequence[str]:
        """What is not as the annotation files have it, beside boxes: a line each."""
        return ()

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
        """Every image of the split for which `wanted`, called once per image, returns True.

        Raises:
            InputError: if an annotation file does not follow the format.
        """


def choose(key: str, value: str, choices: Sequence[str]) -> None:
    """Check a setting that has a few values.

    Raises:
        InputError: if the value is none of the choices.
    """
    if value not in choices:
        raise InputError(key, f"is '{value}'", f"choose one of {', '.join(choices)}")
