"""Boxes from files that are not sorted by image, kept on disk until their image is read."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from lat.formats.importers.source import Box

_CACHE_KIB = 16_384


class BoxStore:
    """A temporary database, deleted when closed; memory use does not grow with it.

    Use it as `with BoxStore(rows) as store:`, where rows are pairs of an image's key and a box; then ask for the boxes of each
    key once.

    Attributes:
        left: number of boxes not yet taken.

    Raises:
        ValueError: if a key is neither text nor a number, or a box is not sound.
    """

    def __init__(self, rows: Iterable[tuple[str | float, Box]]) -> None:
        self._database = sqlite3.connect("")  # no name: a file that the system deletes
        try:
            self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self._database.execute("PRAGMA journal_mode = OFF")
            self._database.execute("CREATE TABLE boxes (image, label, x1 REAL, y1 REAL, x2 REAL, y2 REAL, is_crowd)")
            self._database.executemany("INSERT INTO boxes VALUES (?, ?, ?, ?, ?, ?, ?)", map(_checked, rows))
            self._database.execute("CREATE INDEX by_image ON boxes (image)")
            (self.left,) = self._database.execute("SELECT count(*) FROM boxes").fetchone()
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._database.close()

    def boxes(self, key: str | float) -> list[Box]:
        """The boxes of an image, in their original order.

        Raises:
            ValueError: if the key is neither text nor a number.
        """
        if not isinstance(key, str | int | float):
            raise ValueError(f"image {str(key)[:60]} is neither text nor a number")
        query = "SELECT label, x1, y1, x2, y2, is_crowd FROM boxes WHERE image = ? ORDER BY rowid"
        found = self._database.execute(query, (key,)).fetchall()
        self.left -= len(found)
        return [_box(*row) for row in found]


def _box(label: str, x1: float | None, y1: float | None, x2: float | None, y2: float | None, is_crowd: int) -> Box:
    """A box from a row of the table; the database keeps NaN as nothing."""
    x1, y1, x2, y2 = (math.nan if corner is None else corner for corner in (x1, y1, x2, y2))
    return Box(label, x1, y1, x2, y2, bool(is_crowd))


def _checked(row: tuple[str | float, Box]) -> tuple[object, ...]:
    """A row of the table; the database would turn what is text into numbers."""
    key, box = row
    if not isinstance(key, str | int | float) or not box.is_sound:
        raise ValueError(f"image {str(key)[:60]} has the box {str(tuple(box))[:100]}")
    return key, *box
