"""Proposals of a few images at a time, for threads that read one image after another."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from lat.core.structures import Proposals

IMAGES_AT_ONCE = 16
SETS_KEPT = 4  # since threads read the next batches meanwhile


class Proposed:
    """The proposals of each of some images, of which those near the last asked for are kept.

    Args:
        propose: makes the proposals of a range of images.
        count: the number of images.
    """

    def __init__(self, propose: Callable[[range], list[Proposals]], count: int) -> None:
        self.propose, self.count = propose, count
        self._sets: dict[int, list[Proposals]] = {}  # by first image, the oldest first
        self._lock = Lock()

    def __getitem__(self, image: int) -> Proposals:
        first = image - image % IMAGES_AT_ONCE
        with self._lock:  # one of the threads makes them for all
            if first not in self._sets:
                if len(self._sets) == SETS_KEPT:
                    del self._sets[next(iter(self._sets))]
                self._sets[first] = self.propose(range(first, min(first + IMAGES_AT_ONCE, self.count)))
            return self._sets[first][image - first]
