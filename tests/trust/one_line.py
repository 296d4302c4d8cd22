"""How every test of this folder runs `lat`: in this process, with the time and the memory bounded."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lat.cli import main

SECONDS, MOST_KIB = 60, 1 << 20


@contextmanager
def bounded() -> Iterator[None]:
    """Fail after a minute, or if a gigabyte more memory than now was used."""
    Path("/proc/self/clear_refs").write_text("5")  # the most memory so far is what there is now
    before = most_memory_kib()
    old = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    assert most_memory_kib() - before < MOST_KIB


def most_memory_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _too_long(*_: Any) -> None:
    raise AssertionError(f"still at it after {SECONDS} s")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    capsys.readouterr()
    with bounded(), pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line with which a command ends in status 2; nothing in it is for a terminal to obey."""
    status, _, errors = run(capsys, *arguments)
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert (status, len(lines), errors.endswith("\n")) == (2, 1, True), errors
    assert all(line.startswith(("error: ", "import ", "check ", "hash ")) for line in errors.splitlines()), errors
    assert errors.replace("\n", "").isprintable()
    return lines[0].removeprefix("error: ")
