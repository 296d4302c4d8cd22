"""Finding the files of a dataset, and saying what was expected if they are missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from lat.core.errors import InputError
from lat.core.regular_files import open_regular
from lat.data.image_headers import file_size_hw

IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))

_SHOWN = 6


def require_files(root: Path, what: str, *expected: Path) -> None:
    """Check that files or folders exist.

    Raises:
        InputError: naming `what` the root should be, the first of `expected` that is missing, and what was found instead.
    """
    if not root.is_dir():
        raise InputError(root, "no such folder", f"name the root of {what}: the folder with {_relative(root, expected[0])}")
    for path in expected:
        if not path.exists():
            raise wrong_root(root, what, _relative(root, path), path.parent)


def wrong_root(root: Path, what: str, expected: str, looked_in: Path | None = None) -> InputError:
    """The error for a folder that is not the root of a dataset: what was expected in it, and what was found."""
    folder = next(path for path in ((looked_in or root), *(looked_in or root).parents) if path.is_dir())
    names = sorted(os.listdir(folder))
    found = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "") or "nothing"
    place = "it" if folder == root else _relative(root, folder)
    return InputError(root, f"is not the root of {what}: expected {expected}, but {place} holds {found}")


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def sorted_names(folder: Path, accept: Callable[[str], bool]) -> list[str]:
    """The names of the files in a folder that `accept` returns True for, sorted."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if accept(entry.name))


def sorted_folders(folder: Path) -> Iterator[Path]:
    """The folders in a folder, sorted by name."""
    return iter(sorted(path for path in folder.iterdir() if path.is_dir()))


def is_image(name: str) -> bool:
    """Whether a file is an image, by its suffix."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def image_by_stem(folder: Path) -> dict[str, str]:
    """The name of each image of a folder, by its stem."""
    return {os.path.splitext(name)[0]: name for name in sorted_names(folder, is_image)}


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image file, upright, from its header only.

    Raises:
        InputError: if the file is not an image, or has too many pixels.
    """
    try:
        with open_regular(path) as file:
            height, width = file_size_hw(path, file)
    except OSError:
        raise InputError(path, "is not an image, or its size cannot be read", "copy or download it again") from None
    return width, height
