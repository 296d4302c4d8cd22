"""What a command of `lat` is; each module beside this one has a table `COMMANDS` at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from typer.core import TyperCommand, TyperGroup


def _typeless(params: list[Any]) -> list[Any]:
    """Parameters without a type for flags, which the help would show."""
    for one in params:
        if getattr(one, "is_flag", False):
            one.metavar = ""
    return params


class _Helpful:
    """Help that names no type for flags, and has its examples as they can be pasted, however long they are."""

    epilog: str | None

    def get_params(self, ctx: Any) -> list[Any]:
        return _typeless(super().get_params(ctx))  # type: ignore[misc]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        examples, self.epilog = self.epilog, None
        super().format_help(ctx, formatter)  # type: ignore[misc]
        formatter.write(examples or "")
        self.epilog = examples


class HelpfulGroup(_Helpful, TyperGroup):
    """A group of commands with helpful help."""


class HelpfulCommand(_Helpful, TyperCommand):
    """A command with helpful help."""


def examples_of(lines: Sequence[str]) -> str:
    """The examples at the end of a command's help."""
    return "\n".join(["Examples:", *(f"  {line}" for line in lines), ""])


BEGIN, RUN, STAGES, LABELS = "Getting started", "A whole run", "Single stages of a run", "Labels files"
"""The titles under which the help lists commands."""


class Command(NamedTuple):
    """One command of `lat`.

    Attributes:
        run: what it does; its docstring is the help.
        group: the title under which the help lists it.
        examples: command lines that the help shows.
        is_shared: torchrun or srun may start it in several processes.
    """

    run: Callable[..., Any]
    group: str
    examples: tuple[str, ...]
    is_shared: bool = False
