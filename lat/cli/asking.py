"""What `lat init` asks on a terminal: every answer is checked as it is typed, and nothing typed is lost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lat.core.errors import InputError, printable

if TYPE_CHECKING:
    from lat.commands.found_dataset import DatasetSettings


def ask_for_datasets() -> list[DatasetSettings]:
    """Ask for datasets on the terminal; each answer is checked as it is typed, and asked for again until it is sound.

    Raises:
        InputError: if there is no terminal to ask on.
    """
    from lat.commands.found_dataset import check_name
    from lat.commands.init import too_few

    if not sys.stdin.isatty():
        raise InputError(
            "lat init", "has no datasets, and no terminal to ask on", "name each with --dataset; see `lat init --help`"
        )
    print("Enter two or more datasets; an empty name ends the list.")
    datasets: list[DatasetSettings] = []
    while True:
        names = [one.name for one in datasets]
        if name := _ask(f"Name of dataset {len(datasets) + 1}", partial(check_name, names), may_be_empty=True):
            datasets.append(_ask_for_dataset(name))
        elif len(datasets) > 1:
            return datasets
        else:
            print("  This {}; {}".format(*too_few(names)))


def ask_for_target(names: list[str]) -> str:
    """Ask whose label space is wanted; empty for the smallest dataset's."""
    from lat.commands.init import require_target

    question = f"Target ({', '.join(names)}; empty for the smallest)"
    return _ask(question, partial(require_target, names), may_be_empty=True)


def _ask_for_dataset(name: str) -> DatasetSettings:
    from lat.commands.found_dataset import check_file, check_folder, found_dataset
    from lat.commands.init import parse_dataset

    is_known = typer.confirm("  Is it a folder, data.yaml or ZIP file from Roboflow, COCO or Ultralytics?", default=True)
    if is_known:
        found: list[DatasetSettings] = []
        _ask("  Folder or file", lambda text: found.append(found_dataset(name, Path(text).expanduser())))
        return found[-1]
    parts = [_ask("  Image folder", check_folder), _ask("  COCO file", check_file)]
    if validation := _ask("  COCO file of held-out images (empty for none)", check_file, may_be_empty=True):
        parts.append(validation)
        other = _ask("  Their image folder (empty for the same)", check_folder, may_be_empty=True)
        parts += [other] if other else []
    return parse_dataset(f"{name}={','.join(parts)}")


def _ask(question: str, check: Callable[[str], object], *, may_be_empty: bool = False) -> str:
    """What is typed, once it passes; `check` raises an `InputError` that is shown before the question comes again."""
    while True:
        text: str = typer.prompt(question, default="" if may_be_empty else None, show_default=False).strip()
        if not text and may_be_empty:
            return text
        try:
            check(text)
        except InputError as error:
            print(f"  {printable(error)}")
        else:
            return text
