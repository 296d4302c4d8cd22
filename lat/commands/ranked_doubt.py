"""What `lat report` found doubtful of a labels file of a run, from `doubt/S.T.json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lat.core.documents import read_json
from lat.core.errors import InputError
from lat.core.files import sha256_of_file


@dataclass(frozen=True)
class RankedDoubt:
    """The doubt of labels.

    Attributes:
        images: ids of the images, most doubtful first.
        boxes: doubt of each label by annotation id.
    """

    images: tuple[int, ...] = ()
    boxes: dict[int, float] = field(default_factory=dict)


def read_ranking(labels: Path) -> RankedDoubt | None:
    """The doubt of the labels in `RUN/transferred/S.T.json`; None if there is none for the file as it is now.

    Raises:
        InputError: if the ranking is damaged.
    """
    path = labels.parent.parent / "doubt" / labels.name
    if labels.parent.name != "transferred" or not path.is_file():
        return None
    content = read_json(path, dict[str, Any], "run `lat report --force`")
    try:
        if content["labels"]["sha256"] != sha256_of_file(labels):
            return None
        images = tuple(int(one["image_id"]) for one in content["images"])
        boxes = {int(one["annotation_id"]): float(one["doubt"]) for one in content["boxes"]}
    except (KeyError, TypeError, ValueError):
        raise InputError(path, "is no ranking of doubt", "run `lat report --force`") from None
    return RankedDoubt(images, boxes)


def most_doubtful(labels: Path, ranking: RankedDoubt | None, count: int) -> tuple[int, ...]:
    """The ids of the images that a person should look at first.

    Raises:
        InputError: if there is no ranking of these labels, or `count` is below 1.
    """
    if count < 1:
        raise InputError("--most-doubtful", f"is {count}", "choose 1 or more")
    if ranking is None:
        raise InputError(labels, "has no ranking of doubt", "run `lat report` on its run first, or leave out --most-doubtful")
    return ranking.images[:count]
