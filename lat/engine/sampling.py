"""Which items a step's batch has, and with which seeds: functions of the run's seed and the step alone.

Nothing here keeps state, so a resumed run draws the same items as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch.utils.data import Sampler


class Draw(NamedTuple):
    """One item of a batch: its index in the data, and the seed of everything random about it."""

    item_index: int
    item_seed: int


def derive_seed(*parts: int | str) -> int:
    """A seed 0..2^63 - 1 from numbers and words; different parts, or another order, give an unrelated seed."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Reserved(NamedTuple):
    """Places in every batch reserved for the first items of the data, however many others there are."""

    items: int  # the first this many items of the data, at least 1
    places: int | None  # per batch; None draws all items alike
    alone_from: int | None = None  # from this step on, batches contain only the first items; None for never

    @classmethod
    def half(cls, items: int, batch_size: int) -> Reserved:
        """Half of the places of each batch, at least one, for the first `items` items."""
        return cls(items, max(1, batch_size // 2))


class StepSampler(Sampler[list[Draw]]):
    """Batches of steps `start`..`steps` - 1 for one of `world_size` processes.

    The data are shuffled anew for every epoch and the epochs put end to end: step k takes positions k * batch_size up to
    (k + 1) * batch_size, so a batch may end one epoch and begin the next, and every index comes once per epoch. Of the
    global batch, process `rank` takes its contiguous share; the shares do not depend on what the other processes do.

    With reserved places the first items and the others have separate epochs: each batch has exactly that many of the first
    items, spread evenly over it (so that every process gets its part), and others in the remaining places. Steps with only
    the first items use yet another sequence of epochs.

    Args:
        num_items: number of items in the data, at least 1.
        batch_size: size of the global batch, a multiple of `world_size`.
        seed: seed of the run.
        steps: the steps to iterate over; a resumed training starts after 0.
        reserved: places for the first items; None draws all alike.
        process: rank of this process, and number of processes.
    """

    def __init__(
        self,
        num_items: int,
        batch_size: int,
        seed: int,
        steps: range,
        reserved: Reserved | None = None,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        self.rank, self.world_size = process
        assert num_items > 0
        assert batch_size % self.world_size == 0
        self.batch_size, self.seed = batch_size, seed
        self.steps = steps
        items, places, alone_from = reserved or Reserved(num_items, None)
        assert 0 < items <= num_items
        self.places = batch_size if places is None else places
        assert 0 <= self.places <= batch_size
        assert items < num_items or self.places == batch_size, "the other places need other items"
        self.alone_from = steps.stop if alone_from is None else alone_from
        self._first = _Epochs(range(num_items if places is None else items), seed, "epoch")
        self._others = _Epochs(range(items, num_items), seed, "epoch of others")
        self._alone = _Epochs(range(items), seed, "epoch alone")

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[Draw]]:
        return (self.batch(step) for step in self.steps)

    def batch(self, step: int) -> list[Draw]:
        """This process's share of the batch of `step`."""
        share = self.batch_size // self.world_size
        first = step * self.batch_size + self.rank * share
        return [self._draw(position) for position in range(first, first + share)]

    def _draw(self, position: int) -> Draw:
        return Draw(self._index(position), derive_seed("item", self.seed, position))

    def _index(self, position: int) -> int:
        if (alone := position - self.alone_from * self.batch_size) >= 0:
            return self._alone[alone]
        first = self._first_before(position)
        is_first = self._first_before(position + 1) > first
        return self._first[first] if is_first else self._others[position - first]

    def _first_before(self, position: int) -> int:
        """How many of the positions before this one are for the first items."""
        step, place = divmod(position, self.batch_size)
        return step * self.places + place * self.places // self.batch_size


class _Epochs:
    """An endless sequence: all of `indices` shuffled, then all of them reshuffled, and so on."""

    def __init__(self, indices: range, seed: int, name: str) -> None:
        self.indices, self.seed, self.name = indices, seed, name
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, len(self.indices))
        return self.indices[int(self._order(epoch)[place])]

    def _shuffled(self, epoch: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(derive_seed(self.name, self.seed, epoch))
        return torch.randperm(len(self.indices), generator=generator)
