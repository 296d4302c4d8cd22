"""What the page shows first: an image with the boxes that people drew, beside the labels that they became."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from lat.data.images import read_image
from lat.labels.table import LabelTable
from lat.report.differences import Differences, Mark
from lat.report.gallery import Gallery
from lat.report.pictures import jpeg_of

DOUBTFUL = 0.3  # boxes with at least this doubt count as doubtful
MOST_BOXES = 8  # in one image; with more, names lie on one another
SMALLEST_SIDE = 0.05  # of the image's longer side; smaller boxes show little
WIDTH = 480.0  # units of a drawing, so that names have the same size on any image
LONGEST_SIDE = 960  # pixels of the picture
TAG_HEIGHT, LETTER_WIDTH = 18.0, 9.0  # units
MOST_NAMES_COMPARED = 24  # of the images that are worth most, one whose names do not lie on one another is preferred


@dataclass(frozen=True)
class DrawnBox:
    """A box and its class name, in units of a drawing.

    Attributes:
        x, y, width, height: the box.
        name: its class.
        tag_x, tag_y: where the name begins, or ends if it is `at_end`; its baseline.
        at_end: whether the name ends at the right side of the box.
        kind: "own" for a human box, "label" for a label, "before" for the human box that a label moved from, without a name.
    """

    x: float
    y: float
    width: float
    height: float
    name: str
    tag_x: float
    tag_y: float
    at_end: bool
    kind: str


@dataclass(frozen=True)
class FirstSight:
    """One image of a source, before and after.

    Attributes:
        key: that of the source and target in the page.
        source, target: their names.
        picture: URL of the picture, relative to the page.
        width, height: of the drawings, in units.
        file: name of the image.
        fragment: the page's address of the image.
        own: the human boxes.
        labels: the labels that they became, below them where those that moved come from.
        counts: labels by mark, and human boxes that were dropped.
    """

    key: str
    source: str
    target: str
    picture: str
    width: float
    height: float
    file: str
    fragment: str
    own: tuple[DrawnBox, ...]
    labels: tuple[DrawnBox, ...]
    counts: dict[str, int]


def first_sight(key: str, gallery: Gallery, images: np.ndarray, found: Sequence[Differences], folder: Path) -> FirstSight | None:
    """Choose an image of a gallery that shows what was done, and write its picture under `folder`; None if no label is sure.

    Args:
        key: that of the source and target in the page.
        gallery: one source and target.
        images: indices (J,) of the images to choose from.
        found: the differences of each of them.
        folder: the folder of the page.

    Raises:
        InputError: if the image is missing or cannot be decoded.
    """
    worth = [_worth(gallery, i, differences) for i, differences in zip(images.tolist(), found, strict=True)]
    order = sorted((place for place in range(len(worth)) if worth[place] > 0), key=lambda place: (-worth[place], images[place]))
    drawn = [_drawings(gallery, int(images[place]), found[place]) for place in order[:MOST_NAMES_COMPARED]]
    if not drawn:
        return None
    clear = [worth[place] - sum(map(_overlapping_names, both)) for place, both in zip(order, drawn, strict=False)]
    best = int(np.argmax(clear))
    i, differences, dataset = int(images[order[best]]), found[order[best]], gallery.dataset
    picture = f"pictures/first/{key}.jpg"
    (folder / picture).parent.mkdir(parents=True, exist_ok=True)
    (folder / picture).write_bytes(jpeg_of(read_image(dataset.image_path(i), dataset.size_hw(i)), LONGEST_SIDE))
    (height, width), name = dataset.size_hw(i), dataset.labels.file_names[i]
    own, labels = drawn[best]
    return FirstSight(
        key=key,
        source=gallery.source,
        target=gallery.target,
        picture=quote(picture),
        width=WIDTH,
        height=round(height * WIDTH / width, 1),
        file=name,
        fragment=quote(f"{gallery.source}.{gallery.target}/{name}"),
        own=own,
        labels=labels,
        counts=differences.counts(),
    )


def _worth(gallery: Gallery, i: int, found: Differences) -> float:
    """How well an image shows what was done: by its sure labels of a size to be seen, above all with another class or place."""
    rows = gallery.transferred.rows(i)
    corners, doubts = _corners(gallery.transferred, i), gallery.doubt.boxes[rows]
    seen = (corners[:, 2:] - corners[:, :2]).min(axis=1, initial=np.inf) >= SMALLEST_SIDE * max(gallery.dataset.size_hw(i))
    theirs, ours = _names(gallery.dataset.labels, i), _names(gallery.transferred, i)
    worth = -0.5 * len(found.dropped) - max(0, len(ours) - MOST_BOXES)
    for place, (mark, row) in enumerate(zip(found.marks, found.source_rows, strict=True)):
        if doubts[place] >= DOUBTFUL:
            worth -= 1
        elif seen[place]:
            worth += 1 + 0.5 * (mark is Mark.MOVED) + (row >= 0 and theirs[row] != ours[place])
    return worth


def _drawings(gallery: Gallery, i: int, found: Differences) -> tuple[tuple[DrawnBox, ...], tuple[DrawnBox, ...]]:
    """The human boxes and the labels of an image."""
    source, scale = gallery.dataset.labels, WIDTH / gallery.dataset.size_hw(i)[1]
    own, labels = _corners(source, i) * scale, _corners(gallery.transferred, i) * scale
    real = np.flatnonzero(~source.is_crowd[source.rows(i)]).tolist()
    moved = [row for row, mark in zip(found.source_rows, found.marks, strict=True) if mark is Mark.MOVED]
    before = (_drawn(own[row], "", "before") for row in moved)
    after = (_drawn(box, one, "label") for box, one in zip(labels, _names(gallery.transferred, i), strict=True))
    return tuple(_drawn(own[row], _names(source, i)[row], "own") for row in real), (*before, *after)


def _overlapping_names(boxes: Sequence[DrawnBox]) -> int:
    """How many names lie on others."""
    named = [box for box in boxes if box.name]
    widths = np.array([LETTER_WIDTH * len(box.name) for box in named])
    left = np.array([box.tag_x for box in named]) - widths * [box.at_end for box in named]
    bottom = np.array([box.tag_y for box in named])
    apart = (left[:, None] >= (left + widths)[None]) | (np.abs(bottom[:, None] - bottom[None]) >= TAG_HEIGHT)
    return int(np.triu(~(apart | apart.T), 1).sum())


def _corners(table: LabelTable, i: int) -> np.ndarray:
    corners: np.ndarray = table.boxes_xyxy[table.rows(i)].astype(np.float64)
    return corners


def _names(table: LabelTable, i: int) -> list[str]:
    return [table.space.class_names[label] for label in table.labels[table.rows(i)].tolist()]


def _drawn(box_xyxy: np.ndarray, name: str, kind: str) -> DrawnBox:
    """A box (4,) with its name above it, or in it where there is no room above."""
    left, top, right, bottom = box_xyxy.round(1).tolist()
    at_end = left > 0.75 * WIDTH
    tag_y = top - 5 if top > TAG_HEIGHT else top + TAG_HEIGHT - 3
    return DrawnBox(
        x=left,
        y=top,
        width=round(right - left, 1),
        height=round(bottom - top, 1),
        name=name,
        tag_x=right if at_end else left,
        tag_y=round(tag_y, 1),
        at_end=at_end,
        kind=kind,
    )
