"""The images that two labels files have in common, whoever numbered them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from lat.core.errors import InputError
from lat.labels.table import LabelTable


@dataclass(frozen=True, eq=False)
class SameImages:
    """Two tables reduced to the images of both, in the order of the first, with its image ids and file names.

    Attributes:
        first, second: the tables, each in its own label space.
        matched_by: what the images were recognized by: `file name`, `file name without folders` or `image id`.
        left_out: how many images of the first and of the second file the other lacks.
    """

    first: LabelTable
    second: LabelTable
    matched_by: str
    left_out: tuple[int, int]


def same_images(first: LabelTable, second: LabelTable) -> SameImages:
    """Match the images of two files by file name; if no name is in both, by name without folders, or else by id.

    Raises:
        InputError: if they share no image, or an image has another size in each.
    """
    for matched_by, keys, other_keys in _ways(first, second):
        rows, other_rows = _shared(keys, other_keys)
        if rows:
            kept, other = first.select(np.array(rows)), second.select(np.array(other_rows))
            _check_sizes(kept, other)
            other = replace(other, image_ids=kept.image_ids, file_names=kept.file_names)
            return SameImages(kept, other, matched_by, (len(first) - len(kept), len(second) - len(kept)))
    what = f"has no image of {first.path}: no file name and no image id is in both"
    raise InputError(second.path, what, "compare labels of the same images")


def _ways(first: LabelTable, second: LabelTable) -> list[tuple[str, Sequence[Hashable], Sequence[Hashable]]]:
    """What images may be recognized by, the surest way first; bare names only where each stands for one image."""
    bare = [[PurePosixPath(name).name for name in table.file_names] for table in (first, second)]
    are_unique = all(len(set(names)) == len(names) for names in bare)
    return [
        ("file name", first.file_names, second.file_names),
        *([("file name without folders", bare[0], bare[1])] if are_unique else []),
        ("image id", first.image_ids.tolist(), second.image_ids.tolist()),
    ]


def _shared(first: Sequence[Hashable], second: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Places in both lists of the keys that are in both, in the order of the first; of a repeated key, the first place."""
    places = {key: place for place, key in reversed(list(enumerate(first)))}
    others = {key: place for place, key in reversed(list(enumerate(second)))}
    shared = sorted(place for key, place in places.items() if key in others)
    return shared, [others[first[place]] for place in shared]


def _check_sizes(first: LabelTable, second: LabelTable) -> None:
    differs = np.flatnonzero((first.sizes_hw != second.sizes_hw).any(axis=1))
    if len(differs):
        i = int(differs[0])
        (height, width), (other_height, other_width) = first.sizes_hw[i].tolist(), second.sizes_hw[i].tolist()
        what = f"image {second.file_names[i]} is {other_width} x {other_height} pixels, and {width} x {height} in {first.path}"
        raise InputError(second.path, what, "compare labels of the same images")
