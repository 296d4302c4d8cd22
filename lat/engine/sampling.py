"""Which items make up the batch of a step, and with which seeds: functions of the run's seed and the step alone.

Nothing here remembers what came before, so a resumed run draws what an undisturbed one would have drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One item of a batch: its index in the data, and the seed of whatever is random about it."""

    item_index: int
    item_seed: int


def derive_seed(*parts: int | str) -> int:
    """A seed 0..2^63 - 1 from numbers and words; other parts, or another order, give an unrelated seed."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class StepSampler(Sampler[list[Draw]]):
    """Batches of steps `start`..`steps` - 1 for one of `world_size` processes.

    The data are shuffled anew for every epoch and the epochs put end to end: step k takes positions k * batch_size up to
    (k + 1) * batch_size, so a batch may end one epoch and begin the next, and every index comes once an epoch. Of the
    global batch, process `rank` takes its contiguous share; the shares do not depend on what the other processes do.

    Args:
        num_items: number of items in the data, at least 1.
        batch_size: size of the global batch, a multiple of `world_size`.
        seed: seed of the run.
        start: the first step of the iteration, where a resumed run goes on.
        steps: the iteration ends before this step.
    """

    def __init__(
        self, num_items: int, batch_size: int, seed: int, *, start: int = 0, steps: int, rank: int = 0, world_size: int = 1
    ) -> None:
        assert num_items > 0
        assert batch_size % world_size == 0
        self.num_items, self.batch_size, self.seed = num_items, batch_size, seed
        self.start, self.steps, self.rank, self.world_size = start, steps, rank, world_size
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def __len__(self) -> int:
        return max(0, self.steps - self.start)

    def __iter__(self) -> Iterator[list[Draw]]:
        return (self.batch(step) for step in range(self.start, self.steps))

    def batch(self, step: int) -> list[Draw]:
        """This process's share of the batch of `step`."""
        share = self.batch_size // self.world_size
        first = step * self.batch_size + self.rank * share
        return [self._draw(position) for position in range(first, first + share)]

    def _draw(self, position: int) -> Draw:
        epoch, place = divmod(position, self.num_items)
        return Draw(int(self._order(epoch)[place]), derive_seed("item", self.seed, position))

    def _shuffled(self, epoch: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(derive_seed("epoch", self.seed, epoch))
        return torch.randperm(self.num_items, generator=generator)
