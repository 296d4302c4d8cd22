"""How a command reports: `--quiet`, `--json-lines`, and the last line, which says what to run next."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from lat.core.errors import InputError
from lat.engine import announce

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel="Output")]
JsonLines = Annotated[
    bool, typer.Option("--json-lines", help="Print one JSON object per line, for programs.", rich_help_panel="Output")
]


def with_modes(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same command with the options `--quiet` and `--json-lines`; with JSON lines, an input error is an event too."""

    @wraps(command)
    def speaking(*arguments: Any, quiet: bool = False, json_lines: bool = False, **options: Any) -> Any:
        if quiet and json_lines:
            raise InputError("--quiet", "is given with --json-lines", "choose one of them")
        with announce.speaking(quiet=quiet, json_lines=json_lines):
            try:
                return command(*arguments, **options)
            except InputError as error:
                announce.event("error", message=str(error))
                raise

    own = inspect.signature(command, eval_str=True)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in (("quiet", Quiet), ("json_lines", JsonLines))
    ]
    speaking.__signature__ = own.replace(parameters=[*own.parameters.values(), *more])  # type: ignore[attr-defined]
    speaking.__annotations__ = {name: parameter.annotation for name, parameter in speaking.__signature__.parameters.items()}  # type: ignore[attr-defined]
    return speaking


def next_with_review(reviewed: Path, labels: Path) -> None:
    """Say which command trains on reviewed labels, if they lie where their run finds them."""
    from lat.commands.apply_review import reviewed_path

    run = labels.parent.parent
    if reviewed == reviewed_path(labels) and labels.parent.name == "transferred" and (run / "config.yaml").is_file():
        next_step("lat train-downstream", run)


def tell_page(page: Path) -> None:
    """Say where a page was written."""
    if announce.to_programs():
        announce.event("report", path=str(page))
    else:
        announce.say(f"page: {page}")


def next_step(command: str, config: Path | None = None, overrides: list[str] | None = None) -> None:
    """Say what to run next, with the configuration and the overrides of this command, if any."""
    words = [] if config is None else [str(config), *(overrides or ())]
    line = " ".join([command, *map(shlex.quote, words)])
    if announce.to_programs():
        announce.event("next", command=line)
    else:
        print(f"next: {line}")
