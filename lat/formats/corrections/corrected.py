"""What the files of all tools are read as, and reading JSON of any form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lat.core import documents
from lat.core.errors import InputError


@dataclass(frozen=True)
class CorrectedBox:
    """One box as it came back.

    Attributes:
        label: name of its class.
        box_xyxy: corners, in pixels of the original image or as shares of it; see `CorrectedImage`.
        annotation_id: id of the annotation that it was exported as, as the tool has kept it; None for a box that is new.
        is_crowd: whether it stands for a crowd.
    """

    label: str
    box_xyxy: tuple[float, float, float, float]
    annotation_id: int | None = None
    is_crowd: bool = False


@dataclass(frozen=True)
class CorrectedImage:
    """All boxes of one image as they came back; images that nobody reviewed are left out.

    Attributes:
        item: its name in messages.
        file_name: as in the labels file, or the last part of it.
        boxes: what is on it now.
        is_relative: whether boxes are shares of the image's width and height, 0..1.
        image_id: as in the labels file, if the tool has kept it.
        min_score: the `--min-score` of the export that it came from, if the tool has kept it.
    """

    item: str
    file_name: str
    boxes: tuple[CorrectedBox, ...]
    is_relative: bool = False
    image_id: int | None = None
    min_score: float | None = None


@dataclass(frozen=True)
class Corrections:
    """All images of one file, and what could not be read, one line each."""

    path: Path
    images: tuple[CorrectedImage, ...]
    notes: tuple[str, ...] = ()

    def min_score(self, given: float | None) -> float:
        """The `--min-score` of the export: boxes below it were not in it.

        Args:
            given: what the user says it was, or None.

        Raises:
            InputError: if the file says something else, or its images come from exports that differ in it.
        """
        said = sorted({image.min_score for image in self.images if image.min_score is not None})
        if given is None and len(said) > 1:
            what = f"comes from exports with --min-score {' and '.join(f'{one:g}' for one in said)}"
            raise InputError(self.path, what, "import the images of each export on their own")
        if given is not None and said and said != [given]:
            what = f"was exported with --min-score {' and '.join(f'{one:g}' for one in said)}, not {given:g}"
            raise InputError(self.path, what, "leave out --min-score: the export has kept it")
        return said[0] if said else given or 0.0


@dataclass(frozen=True)
class CorrectionFormat:
    """How the corrections of one tool are read.

    Attributes:
        read: reads what the tool has exported; takes its path, and the name of a label field if `has_fields`, else "".
        exported_as: what the tool's export is called where an example names it.
        has_fields: whether the tool keeps several sets of labels side by side, each as a named field.
    """

    read: Callable[[Path, str], Corrections]
    exported_as: str
    has_fields: bool = False


def read_json(path: Path, shape: Any, remedy: str) -> Any:
    """The content of a JSON file; see `documents.read_json`.

    Raises:
        InputError: if it is missing, not JSON, or of another shape.
    """
    try:
        return documents.read_json(path, shape, remedy)
    except FileNotFoundError:
        raise InputError(path, "there is no such file", "check the path") from None


def as_id(value: object) -> int | None:
    """An id that a tool kept as a number or as text; None for anything else."""
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if 0 < number < 1 << 63 else None


def as_score(value: object) -> float | None:
    """A score from 0 to 1 that a tool kept as a number or as text; None for anything else."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if 0.0 <= number <= 1.0 else None


def as_box(path: Path, item: str, values: object) -> tuple[float, float, float, float]:
    """Four numbers.

    Raises:
        InputError: if they are something else.
    """
    try:
        first, second, third, fourth = (_number(value) for value in values)  # type: ignore[attr-defined]
    except (TypeError, ValueError, OverflowError):
        raise InputError(path, f"{item}: {str(values)[:80]} is not a box", "export it from the tool again") from None
    return first, second, third, fourth


def _number(value: object) -> float:
    """A number, or a text that is one."""
    if isinstance(value, bool):
        raise TypeError(value)
    return float(value)  # type: ignore[arg-type]
