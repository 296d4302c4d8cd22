"""What a command of `lat` is; each module beside this one has a table `COMMANDS` at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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
