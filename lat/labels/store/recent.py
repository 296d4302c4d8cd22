"""What was used last, up to a number of bytes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Recent(Generic[Item]):
    """Keeps the items that were used last.

    Args:
        most: bytes of all that are kept; an item that is larger is not kept at all.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._items: dict[Hashable, tuple[Item, int]] = {}  # the longest unused first

    def get(self, key: Hashable) -> Item | None:
        """The item, which is now the last used; None if it is not kept."""
        if key not in self._items:
            return None
        found = self._items[key] = self._items.pop(key)
        return found[0]

    def put(self, key: Hashable, item: Item, size: int) -> None:
        """Keep an item of so many bytes, and let others go."""
        self._items.pop(key, None)
        if size > self.most:
            return
        self._items[key] = item, size
        while sum(each for _, each in self._items.values()) > self.most:
            del self._items[next(iter(self._items))]
