"""Labels files that a person has gone through: which file they are a review of, and which of its images the person saw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from lat.core.files import write_atomically
from lat.labels.coco.write import write_table
from lat.labels.table import LabelTable

ENDING = ".reviewed.json"
KEY = "reviewed"
"""Where the `info` of a reviewed file says so."""


@dataclass(frozen=True)
class Review:
    """What a reviewed file says of itself.

    Attributes:
        labels_sha256: of the file that was reviewed; after several reviews, of the first, which no person had changed.
        image_ids: the images on which a person decided; on these, a label with score 1 is a person's.
    """

    labels_sha256: str
    image_ids: frozenset[int]


def reviewed_path(labels: Path) -> Path:
    """The file beside a labels file that holds its review; a review goes on in its own file."""
    return labels if labels.name.endswith(ENDING) else labels.with_name(f"{labels.stem}{ENDING}")


def write_review(path: Path, table: LabelTable, *, goes_on: bool = False) -> str:
    """Write a review where its run finds it; another one that was there is kept as `NAME.reviewed.1.json` and so on.

    Args:
        path: the file.
        table: the reviewed labels.
        goes_on: whether the review is one of what is there.

    Returns:
        A line that says so; "" if there was none, or the same.
    """
    if not path.is_file():
        write_table(path, table)
        return ""
    before = path.read_bytes()
    kept = next(place for number in count(1) if not (place := path.with_suffix(f".{number}.json")).exists())
    write_atomically(kept, before)
    write_table(path, table)
    if path.read_bytes() == before:
        kept.unlink()
        return ""
    if goes_on:
        return f"the review that it goes on from is kept as {kept}"
    use = "the run uses the new one alone; to go on from a review, export its file"
    return f"another review of these labels was there; it is kept as {kept}, and {use}"


def review_of(table: LabelTable) -> Review | None:
    """What a table read from a reviewed file says of itself; None if nobody has reviewed it, or it does not say so properly."""
    found = table.info.get(KEY)
    if not isinstance(found, dict) or not isinstance(found.get("labels_sha256"), str):
        return None
    ids = found.get("image_ids")
    if not isinstance(ids, list) or not all(type(number) is int for number in ids):
        return None
    return Review(found["labels_sha256"], frozenset(ids))


def with_review(table: LabelTable, labels_sha256: str, image_ids: Iterable[int]) -> dict[str, Any]:
    """The `info` of a review of `table`, which was read from a file with this SHA-256; an earlier review of it counts on."""
    before = review_of(table)
    seen = set(image_ids) | (before.image_ids if before else set())
    return {**table.info, KEY: {"labels_sha256": before.labels_sha256 if before else labels_sha256, "image_ids": sorted(seen)}}
