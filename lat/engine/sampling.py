"""Which items a step's batch has, and with which seeds: functions of the run's seed and the step alone.

Nothing here keeps state, so a resumed run draws the same items as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
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


class Group(NamedTuple):
    """Consecutive items of the data, and how often an epoch draws from them."""

    items: int  # at least 1
    draws: int  # in every epoch; `items` for every item once

    @classmethod
    def by_power(cls, sizes: Sequence[int], power: float) -> tuple[Group, ...]:
        """Groups of these sizes, each drawn in proportion to size^power; an epoch has as many draws as there are items.

        Groups without items are left out. Numbers of draws are rounded by largest remainders.

        Args:
            sizes: number of items of each group, at least one above 0.
            power: from 0, all groups alike, to 1, all items alike.
        """
        assert 0.0 <= power <= 1.0
        filled = [size for size in sizes if size]
        weights = [size**power for size in filled]
        exact = [sum(filled) * weight / sum(weights) for weight in weights]
        draws = [int(one) for one in exact]
        by_remainder = sorted(range(len(exact)), key=lambda i: draws[i] - exact[i])
        for i in by_remainder[: sum(filled) - sum(draws)]:
            draws[i] += 1
        return tuple(map(cls, filled, draws))


class StepSampler(Sampler[list[Draw]]):
    """Batches of steps `start`..`steps` - 1 for one of `world_size` processes.

    The data are shuffled anew for every epoch and the epochs put end to end: step k takes positions k * batch_size up to
    (k + 1) * batch_size, so a batch may end one epoch and begin the next, and every index comes once per epoch. Of the
    global batch, process `rank` takes its contiguous share; the shares do not depend on what the other processes do.

    With groups an epoch has a given number of draws of each, and over the epochs all items of a group come equally often.

    With reserved places the first items and the others have separate epochs: each batch has exactly that many of the first
    items, spread evenly over it (so that every process gets its part), and others in the remaining places. Steps with only
    the first items use yet another sequence of epochs.

    Args:
        items: number of items in the data, at least 1; or the groups that they form.
        batch_size: size of the global batch, a multiple of `world_size`.
        seed: seed of the run.
        steps: the steps to iterate over; a resumed training starts after 0.
        reserved: places for the first items, regardless of groups; None reserves none.
        process: rank of this process, and number of processes.
    """

    def __init__(
        self,
        items: int | Sequence[Group],
        batch_size: int,
        seed: int,
        steps: range,
        reserved: Reserved | None = None,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        self.rank, self.world_size = process
        groups = [Group(items, items)] if isinstance(items, int) else items
        num_items = sum(group.items for group in groups)
        assert num_items > 0
        assert batch_size % self.world_size == 0
        self.batch_size, self.seed = batch_size, seed
        self.steps = steps
        first, places, alone_from = reserved or Reserved(num_items, None)
        assert 0 < first <= num_items
        self.places = batch_size if places is None else places
        assert 0 <= self.places <= batch_size
        assert first < num_items or self.places == batch_size, "the other places need other items"
        self.alone_from = steps.stop if alone_from is None else alone_from
        self._first = _Epochs(groups if places is None else [Group(first, first)], seed, "epoch")
        self._others = _Epochs([Group(num_items - first, num_items - first)], seed, "epoch of others", start=first)
        self._alone = _Epochs([Group(first, first)], seed, "epoch alone")

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
    """An endless sequence of items, epoch after epoch: so many of each group as it has draws, shuffled together.

    Args:
        groups: how the items are drawn.
        seed: seed of the run.
        name: tells this sequence from others of the seed.
        start: index of the first item.
    """

    def __init__(self, groups: Sequence[Group], seed: int, name: str, start: int = 0) -> None:
        self.seed, self.name = seed, name
        self.length = sum(group.draws for group in groups)
        ends = accumulate(group.items for group in groups)
        self._turns = [
            _Turns(start + end - group.items, group, seed, f"{name} of group {i}")
            for i, (end, group) in enumerate(zip(ends, groups, strict=True))
        ]
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, self.length)
        return int(self._order(epoch)[place])

    def _shuffled(self, epoch: int) -> torch.Tensor:
        items = torch.cat([turns.of_epoch(epoch) for turns in self._turns])
        return items[_permutation(self.length, self.name, self.seed, epoch)]


class _Turns:
    """The items of one group by turns: all of them in a random order, then all in another one, and so on."""

    def __init__(self, start: int, group: Group, seed: int, name: str) -> None:
        self.start, self.seed, self.name = start, seed, name
        self.items, self.draws = group

    def of_epoch(self, epoch: int) -> torch.Tensor:
        """(draws,) int64 items of the group that an epoch has, in ascending order."""
        times = torch.zeros(self.items, dtype=torch.int64)
        (first, begun), (last, ended) = (divmod(position * self.draws, self.items) for position in (epoch, epoch + 1))
        times += last - first
        times[self._order(first)[:begun]] -= 1
        times[self._order(last)[:ended]] += 1
        return self.start + torch.arange(self.items).repeat_interleave(times)

    def _order(self, turn: int) -> torch.Tensor:
        return _permutation(self.items, self.name, self.seed, turn)


def _permutation(length: int, *parts: int | str) -> torch.Tensor:
    """The numbers from 0 to below `length` in an order of their own for other parts."""
    return torch.randperm(length, generator=torch.Generator().manual_seed(derive_seed(*parts)))
