"""A job whose shards write a file each, and note who did them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lat.core.errors import InputError
from lat.core.files import write_atomically
from lat.engine.jobs import Advance, uncounted


@dataclass
class CountedJob:
    """Shards that each write their number; `bad` ones raise, others take so many `seconds`.

    Attributes:
        gates: shards that are not done before there is a file of this name in the folder.
        together: no shard is done before so many processes have begun one.
    """

    folder: Path
    sizes: Sequence[int]
    bad: frozenset[int] = frozenset()
    seconds: dict[int, float] = field(default_factory=dict)
    title: str = "count"
    gates: dict[int, str] = field(default_factory=dict)
    together: int = 1
    is_preparation: bool = False

    def is_done(self, shard: int) -> bool:
        return self.path(shard).is_file()

    def run(self, shard: int, advance: Advance = uncounted) -> Sequence[Path]:
        if self.together > 1:
            (self.folder / f"begun.{os.getpid()}").touch()
            until(lambda: len(list(self.folder.glob("begun.*"))) >= self.together)
        if shard in self.gates:
            until((self.folder / self.gates[shard]).exists)
        time.sleep(self.seconds.get(shard, 0.0))
        if shard in self.bad:
            raise InputError(f"shard {shard}", "is bad", "mend it")
        with (self.folder / "who.txt").open("a") as log:
            log.write(f"{shard} {os.getpid()}\n")
        write_atomically(self.path(shard), str(shard))
        advance(self.sizes[shard])
        return [self.path(shard)]

    def path(self, shard: int) -> Path:
        return self.folder / f"{shard:05d}"

    def done_by(self) -> list[tuple[int, int]]:
        """For each shard that was run, in order, its number and the process."""
        log = self.folder / "who.txt"
        lines = log.read_text().splitlines() if log.is_file() else []
        return [(int(shard), int(process)) for shard, process in map(str.split, lines)]


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait for what another process or thread does.

    Raises:
        AssertionError: if it has not done it within a time that only a mistake takes.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s"
        time.sleep(0.01)


class Killed(CountedJob):
    """A job whose process ends at once."""

    def run(self, shard: int, advance: Advance = uncounted) -> Sequence[Path]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Hiding(CountedJob):
    """Its files are gone before anybody sees them, as on a disk of another machine."""

    def run(self, shard: int, advance: Advance = uncounted) -> Sequence[Path]:
        files = list(super().run(shard, advance))
        for path in files:
            path.unlink()
        return files
