"""A table that imports its entries on lookup, so that listing names costs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TypeVar

Entry = TypeVar("Entry")


class LazyTable(Mapping[str, Entry]):
    """A mapping from names to objects of other modules; an entry's module is imported on first lookup.

    Iterating, `in` and `len` import nothing.

    Args:
        places: the location of each name's object, as `package.module:object`.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)

    def __getitem__(self, name: str) -> Entry:
        module, _, attribute = self._places[name].partition(":")
        entry: Entry = getattr(import_module(module), attribute)
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
