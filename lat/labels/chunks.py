"""Go through images a fixed number at a time, so that memory does not grow with how many there are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lat.labels.table import LabelTable

IMAGES_AT_ONCE = 512
"""Images whose pairs of boxes are in memory together: at 30 boxes in each of two tables, about 60 MiB."""


def chunks_of(count: int) -> Iterator[range]:
    """The indices of `count` images in consecutive ranges of `IMAGES_AT_ONCE`, the last of which may be shorter; one empty range
    for no images.
    """
    for start in range(0, max(count, 1), IMAGES_AT_ONCE):
        yield range(start, min(start + IMAGES_AT_ONCE, count))


def in_chunks(*tables: LabelTable) -> Iterator[tuple[LabelTable, ...]]:
    """The images of each range of `chunks_of` in every table; all tables have the same images in the same order."""
    assert all(len(table) == len(tables[0]) for table in tables), "tables of the same images"
    for images in chunks_of(len(tables[0])):
        yield tuple(table.select(np.arange(images.start, images.stop)) for table in tables)
