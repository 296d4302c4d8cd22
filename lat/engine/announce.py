"""What a command says while it works: lines for people, nothing at all, or one JSON object per line for programs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, TextIO

from lat.core.errors import printable


@dataclass(frozen=True)
class _Manner:
    """How messages are printed; `out` is where JSON lines go: the process's original standard output."""

    quiet: bool = False
    out: TextIO | None = None


_manner = _Manner()


@contextmanager
def speaking(*, quiet: bool = False, json_lines: bool = False) -> Iterator[None]:
    """Be quiet, or print JSON lines for programs, while this context is open.

    Args:
        quiet: nothing goes to standard output, and no progress is shown; errors go to standard error as ever.
        json_lines: standard output gets one JSON object per line, each with the key `event`, and nothing else: what libraries
            print there goes to standard error.
    """
    global _manner
    before = _manner
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        _manner = _Manner(quiet, sys.stdout if json_lines else None)
        try:
            with redirect_stdout(nowhere if quiet else sys.stderr if json_lines else sys.stdout):
                yield
        finally:
            _manner = before


def is_quiet() -> bool:
    """True if only errors are printed."""
    return _manner.quiet


def to_programs() -> bool:
    """True if JSON lines are wanted instead of text for people."""
    return _manner.out is not None


def say(line: str) -> None:
    """Print a line for people, or the event `message` for programs."""
    if to_programs():
        event("message", text=line)
    else:
        print(printable(line))


def event(name: str, /, **fields: Any) -> None:
    """Print an event with fields of JSON types for programs; people see nothing."""
    if _manner.out is not None:
        _manner.out.write(json.dumps({"event": name, **fields}, allow_nan=False) + "\n")
        _manner.out.flush()


@contextmanager
def work(name: str, /, **fields: Any) -> Iterator[None]:
    """Tell programs when work begins (`NAME_begun`), and when it is done, how many seconds it took (`NAME_done`)."""
    start = time.monotonic()
    event(f"{name}_begun", **fields)
    yield
    event(f"{name}_done", **fields, seconds=round(time.monotonic() - start, 3))
