"""Arguments and options that several commands share, and opening the run that they name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lat.workspace.workspace import Workspace

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The YAML file of the run, or its folder.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings that override those of the file, for example lat.fusion.attention=none."),
]
Force = Annotated[bool, typer.Option("--force", help="Do it even if it is up to date.")]


def one_of(names: Iterable[str]) -> str:
    """Names as a choice: `a, b or c`."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def open_run(config: Path, overrides: list[str] | None) -> Workspace:
    """The run that a configuration file and `key=value` overrides describe.

    Raises:
        InputError: if either is wrong.
    """
    from lat.config.load import load_config

    loaded = load_config(config, overrides or ())  # what is wrong with it is told before torch is imported
    from lat.workspace.workspace import Workspace

    return Workspace(loaded)
