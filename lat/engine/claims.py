"""Items of one job that the processes of a run take one at a time, whoever is free."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Counters(Protocol):
    """Numbers that all processes share; `torch.distributed.Store` is one."""

    def add(self, key: str, amount: int, /) -> int:
        """Add to a number that starts at 0, and return its new value."""


class Claims:
    """Yields the numbers of items that no other process has taken.

    Args:
        counters: shared by the processes.
        name: of the job: the same in all processes, and new for each job.
        total: number of items.
    """

    def __init__(self, counters: Counters, name: str, total: int) -> None:
        self.counters, self.total = counters, total
        self._taken, self._done = f"lat/claims/{name}/taken", f"lat/claims/{name}/done"
        self._known = 0

    def __iter__(self) -> Iterator[int]:
        while (item := self.counters.add(self._taken, 1) - 1) < self.total:
            yield item

    def advance(self, units: int) -> int:
        """Count units of work as done; returns by how many those of all processes have grown since the last call here."""
        before, self._known = self._known, self.counters.add(self._done, units)
        return self._known - before

    def stop(self) -> None:
        """Leave the items that nobody has taken undone."""
        self.counters.add(self._taken, self.total)
