"""Non-maximum suppression of many images and classes at once, in steps whose sizes the host knows before.

Shape letters: C candidates in order of their images, P pairs of candidates of one group (an image and a class), N that are left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from lat.core.copies import to_host
from lat.core.selection import rows_where

Item = TypeVar("Item")

PASSES = 16  # after so many, a device is asked whether any candidate is still undecided; a few are enough


def until_settled(attempt: Callable[[int], Item | None], passes: int = PASSES) -> Item:
    """What an attempt finds with enough passes of suppression, from `passes` on; it gives None as long as they were too few."""
    while (found := attempt(passes)) is None:
        passes *= PASSES
    return found


def count_pairs(group_sizes: Tensor) -> Tensor:
    """Number () int64 of pairs in groups of these sizes, of any shape, each pair counted once."""
    return (group_sizes * (group_sizes - 1)).sum() // 2


def pairs_in_groups(group: Tensor, num_pairs: int) -> tuple[Tensor, Tensor, Tensor]:
    """All pairs of rows of one group (C,) int64, each once.

    Returns:
        (C,) int64 rows, those of one group side by side, and for each of the (P,) pairs two places in it, the first before the
        second. Second places of one first place are ascending, and so are first places of one second place.
    """
    order = group.argsort(stable=True)
    group, place = group[order], torch.arange(len(group), device=group.device)
    after = torch.searchsorted(group, group, right=True) - 1 - place  # of each place in its group
    to_second = place + 1 - (after.cumsum(0) - after)
    first = place.repeat_interleave(after, output_size=num_pairs)
    second = to_second.repeat_interleave(after, output_size=num_pairs)
    return order, first, second.add_(torch.arange(num_pairs, device=group.device))


def order_by_image(images: Tensor, scores: Tensor) -> Tensor:
    """The order (N,) int64 of boxes of `images` (N,) with `scores` (N,): image after image, best first in each."""
    order = scores.argsort(descending=True, stable=True)
    return order[images[order].argsort(stable=True)]


class Suppression:
    """Candidates of which the better of a pair, unless suppressed itself, suppresses the other. `settle` decides all.

    Args:
        better: (P,) int64 the better candidate of each pair.
        other: (P,) int64 the other.
        suppresses: (P,) bool, whether the better one of the pair suppresses the other.
        alive: (C,) bool, the candidates that take part.
    """

    def __init__(self, better: Tensor, other: Tensor, suppresses: Tensor, alive: Tensor) -> None:
        self.better, self.suppresses, self.alive, self.kept = better, suppresses, alive, alive
        self.other = other
        self.is_settled = torch.zeros((), dtype=torch.bool, device=alive.device)

    def advance(self) -> None:
        """Some passes; each resolves at least one more link of every chain of suppressions. A CPU ends as soon as all are."""
        count = len(self.alive)
        for _ in range(PASSES):
            hit = torch.where(self.suppresses & self.kept[self.better], self.other, count)
            now = torch.cat([self.alive, self.alive.new_ones(1)]).scatter(0, hit, False)[:count]
            self.is_settled = (now == self.kept).all()
            self.kept = now
            if now.device.type == "cpu" and self.is_settled:
                return


class Survivors:
    """What a suppression leaves, at most so many of each image.

    Args:
        suppression: of the candidates.
        by_image: (C,) int64, see `order_by_image`.
        images: (C,) int64 image index of each candidate.
        most: of one image.
    """

    def __init__(self, suppression: Suppression, by_image: Tensor, images: Tensor, most: int) -> None:
        self.suppression, self.by_image, self.images, self.most = suppression, by_image, images[by_image], most
        self.chosen, self.count = torch.zeros_like(self.images, dtype=torch.bool), 0

    def advance(self) -> Tensor:
        """Decide more; (2,) int64: whether all is decided, and how many are left."""
        self.suppression.advance()
        kept = self.suppression.kept[self.by_image]
        place = kept.cumsum(0) - kept.long()
        start = torch.searchsorted(self.images, self.images)
        self.chosen = kept & (place - place[start] < self.most)
        return torch.stack([self.suppression.is_settled.long(), self.chosen.sum()])

    def best(self) -> Tensor:
        """(N,) int64 the candidates that are left, image after image, best first in each. `settle` comes before."""
        return self.by_image[rows_where(self.chosen, self.count)]


def settle(contests: Sequence[Survivors]) -> None:
    """Decide several contests; the program waits for a device once, unless a chain of suppressions is very long."""
    decided = False
    while not decided:
        numbers = [each.tolist() for each in to_host([one.advance() for one in contests])]
        for one, (_, count) in zip(contests, numbers, strict=True):
            one.count = count
        decided = all(is_settled for is_settled, _ in numbers)
