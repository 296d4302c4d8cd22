"""The page of `lat compare`: all figures, and the images on which two annotators disagree most, with the boxes of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from lat.core.files import write_atomically
from lat.data.dataset import DetectionDataset
from lat.evaluation.compared_labels import NOTHING, ComparedLabels
from lat.evaluation.side_shifts import SIDES
from lat.labels.table import LabelTable
from lat.report.page import content_hash, environment, joined_assets
from lat.report.pictures import picture_name, relative_url, write_pictures

MOST_IMAGES = 40
LONGEST_SIDE = 800  # pixels of a picture: its boxes are looked at in place
STYLES = ("style.css", "pictures.css", "comparison.css", "print.css")

Progress = Callable[[int], None]


@dataclass(frozen=True)
class BoxView:
    """A box over a picture, in pixels of the image.

    Attributes:
        kind: CSS classes: whose it is, and whether the other lacks it or calls it something else.
        sentence: what it is in both files.
        tag: both class names if they disagree, else "".
    """

    x: float
    y: float
    width: float
    height: float
    kind: str
    sentence: str
    tag: str


@dataclass(frozen=True)
class Card:
    """One image of the gallery.

    Attributes:
        file: its name.
        picture: path of its picture, relative to the page.
        original: URL of the image itself.
        size_hw: height and width in pixels.
        boxes: those of both files, what only one has last, so that it is drawn on top.
        counts: boxes that B lacks, that A lacks, and pairs of classes that are not counterparts.
    """

    file: str
    picture: str
    original: str
    size_hw: tuple[int, int]
    boxes: tuple[BoxView, ...]
    counts: tuple[int, int, int]


def write_page(
    folder: Path,
    found: ComparedLabels,
    figures: Mapping[str, Any],
    dataset: DetectionDataset,
    pictures: Callable[[int], AbstractContextManager[Progress]],
) -> None:
    """Write `index.html` and its pictures into a folder; the same labels and images give the same bytes.

    Args:
        folder: where to write.
        found: the matched boxes.
        figures: what `lat compare` writes as JSON.
        dataset: the compared images.
        pictures: called with the number of pictures; what it gives is called with the number of those written.

    Raises:
        InputError: if an image is missing, cannot be decoded, or has another size than the labels say.
    """
    turned = found.turned()
    shown = choose_images(found)
    with pictures(len(shown)) as progress:
        write_pictures(folder, dataset, shown.tolist(), LONGEST_SIDE, progress)
    cards = [_card(found, turned, i, dataset, folder) for i in shown.tolist()]
    write_atomically(folder / "index.html", render_page(figures, cards))


def render_page(figures: Mapping[str, Any], cards: list[Card]) -> str:
    """The page as HTML; all text that comes from files is escaped, and there is no script."""
    style = joined_assets(STYLES)
    template = environment().get_template("comparison.html.j2")
    heat = {"A": heat_rows(figures["classes"]["A"]), "B": heat_rows(figures["classes"]["B"])}
    return template.render(
        figures=figures, heat=heat, sides=SIDES, cards=cards, style=Markup(style), style_hash=content_hash(style)
    )


def choose_images(found: ComparedLabels, most: int = MOST_IMAGES) -> np.ndarray:
    """Indices (J,) of the images with most disagreements, most first, in file order where equal; none without any."""
    counts = count_disagreements(found)
    order = np.argsort(-counts, kind="stable")
    chosen: np.ndarray = order[counts[order] > 0][:most]
    return chosen


def count_disagreements(found: ComparedLabels) -> np.ndarray:
    """(I,) int64: boxes in one file alone or of another class in the other, on each image."""
    counts: np.ndarray = np.sum([_per_image(table, rows) for table, rows in _disagreements(found, found.turned())], axis=0)
    return counts


def _disagreements(found: ComparedLabels, turned: ComparedLabels) -> list[tuple[LabelTable, np.ndarray]]:
    """What B lacks, what A lacks, and pairs whose classes are no counterparts, as masks of the boxes of a table."""
    return [
        (found.first, found.partners == NOTHING),
        (turned.first, turned.partners == NOTHING),
        (found.first, found.differs),
    ]


def _per_image(table: LabelTable, rows: np.ndarray) -> np.ndarray:
    """How many of the boxes with True in `rows` (A,) each image has, (I,) int64."""
    return np.bincount(table.image_of_box[rows], minlength=len(table))


def _card(found: ComparedLabels, turned: ComparedLabels, i: int, dataset: DetectionDataset, folder: Path) -> Card:
    boxes = [*_boxes(found, i, "A", "B"), *_boxes(turned, i, "B", "A")]
    at_b, at_a, differing = (int(rows[table.rows(i)].sum()) for table, rows in _disagreements(found, turned))
    return Card(
        file=dataset.labels.file_names[i],
        picture=picture_name(dataset.name, i),
        original=relative_url(dataset.image_path(i), folder),
        size_hw=dataset.size_hw(i),
        boxes=tuple(sorted(boxes, key=lambda box: "is-alone" in box.kind)),
        counts=(at_b, at_a, differing),
    )


def _boxes(found: ComparedLabels, i: int, own: str, other: str) -> list[BoxView]:
    """The boxes of the first annotator on image `i`; `own` and `other` are how the two files are called."""
    views = []
    for row in range(*found.first.rows(i).indices(found.first.num_boxes)):
        left, top, right, bottom = (round(value, 1) for value in found.first.boxes_xyxy[row].tolist())
        name, partner = found.first.space.class_names[int(found.first.labels[row])], int(found.partners[row])
        kind, sentence, tag = f"of-{own.lower()}", f"{name} in {own}, missed by {other}", ""
        if partner == NOTHING:
            kind += " is-alone"
        else:
            seen_as = found.second.space.class_names[int(found.second.labels[partner])]
            sentence = f"{name} in {own}, {seen_as} in {other}"
            if found.differs[row]:
                kind, tag = f"{kind} is-different", f"{name} / {seen_as}" if own == "A" else ""
        views.append(BoxView(left, top, round(right - left, 1), round(bottom - top, 1), kind, sentence, tag))
    return views


def heat_rows(classes: list[dict[str, Any]]) -> list[list[tuple[float | None, int, int]]]:
    """For each class, the share, the count and a shade from 0 to 5 of each class of the other file, of nothing last."""
    rows = []
    for one in classes:
        shares = [*one["shares"].values(), one["missed_share"]]
        counts = [*one["counts"].values(), one["missed"]]
        rows.append([(share, count, int(np.ceil(5 * (share or 0)))) for share, count in zip(shares, counts, strict=True)])
    return rows
