"""Folders that a command writes figures and a page to."""

from __future__ import annotations

from pathlib import Path

from lat.core.errors import InputError


def check_output_folder(out: Path, figures: str, earlier: str) -> None:
    """Check that writing to a folder overwrites nothing but what the same command wrote.

    Args:
        out: the folder; it need not exist.
        figures: the file by which the command knows its own folders.
        earlier: what such a folder is of, for the error: "an earlier comparison".

    Raises:
        InputError: if `out` is a file or has something else in it.
    """
    if out.exists() and not out.is_dir():
        raise InputError(out, "is not a folder", "name a new or empty one")
    if out.is_dir() and any(out.iterdir()) and not (out / figures).is_file():
        raise InputError(out, f"is not empty, and has no {figures} of {earlier}", "name a new or empty folder")
