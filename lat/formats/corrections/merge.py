"""Merge a person's corrections into a copy of the labels that were exported."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from lat.core.errors import InputError
from lat.formats.corrections.corrected import CorrectedBox, CorrectedImage, Corrections
from lat.labels.class_scores import joined_scores, one_hot
from lat.labels.provenance import columns_of
from lat.labels.table import LabelTable

SAME_BOX = 0.02
"""Pixels by which a corner may differ from its export without having been moved, since tools round."""


@dataclass
class _Rows:
    """The annotations of the corrected file: rows of the old table that stay, and human boxes."""

    kept: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)  # those of `kept` that a person has seen
    drawn: list[tuple[CorrectedBox, np.ndarray, int]] = field(default_factory=list)  # box, corners, id of what it was or -1


@dataclass(frozen=True)
class CorrectedLabels:
    """Corrected labels, and what happened to the boxes.

    Attributes:
        table: the labels; untouched boxes are as they were, with ids, scores and provenance.
        accepted: boxes that came back as they were: a person has seen them and let them stand.
        unseen: boxes of images that did not come back, and boxes that were not in the export.
        changed: boxes that were moved or have another class.
        added: new boxes.
        deleted: boxes that did not come back.
        untouched_images: images that did not come back.
        seen_images: ids of the images that did.
    """

    table: LabelTable
    accepted: int
    unseen: int
    changed: int
    added: int
    deleted: int
    untouched_images: int
    seen_images: tuple[int, ...]


def merge_corrections(table: LabelTable, corrections: Corrections, *, min_score: float = 0.0) -> CorrectedLabels:
    """The labels of a file as a person corrected them.

    A box that came back with the class and, up to rounding, the corners that it had keeps its row: id, class scores and
    provenance; its score is 1, since a person has seen it and let it stand. Every other box is a human box: a new id, score 1,
    origin `person`, and the id of the box that it replaces, if any. Images that did not come back keep all their boxes; in the
    others, boxes that did not come back are deleted.

    Args:
        table: the labels that were exported.
        corrections: what came back.
        min_score: the score below which boxes were left out of the export; nobody has seen them, so they stay.

    Raises:
        InputError: if an image is not in the labels file or came back twice, a class is not in the class list, or a box has no
            area inside its image.
    """
    found = _index_images(table, corrections)
    rows = [
        _match(table, i, found[i], corrections, min_score) if i in found else _Rows(list(range(*_range(table, i))))
        for i in range(len(table))
    ]
    kept, accepted = sum(len(one.kept) for one in rows), sum(len(one.accepted) for one in rows)
    changed = sum(before > 0 for one in rows for _, _, before in one.drawn)
    added = sum(len(one.drawn) for one in rows) - changed
    deleted = table.num_boxes - kept - changed
    seen = tuple(table.image_ids[sorted(found)].tolist())
    built = _build(table, rows)
    return CorrectedLabels(built, accepted, kept - accepted, changed, added, deleted, len(table) - len(found), seen)


def _range(table: LabelTable, i: int) -> tuple[int, int]:
    return int(table.offsets[i]), int(table.offsets[i + 1])


def _index_images(table: LabelTable, corrections: Corrections) -> dict[int, CorrectedImage]:
    """Corrected images by the index of the image in the table: matched by id, by file name, or by the last part of it."""
    by_id = {image_id: i for i, image_id in enumerate(table.image_ids.tolist())}
    by_name = {name: i for i, name in enumerate(table.file_names)}
    ends: dict[str, list[int]] = {}
    for i, name in enumerate(table.file_names):
        ends.setdefault(PurePosixPath(name).name, []).append(i)
    found: dict[int, CorrectedImage] = {}
    for image in corrections.images:
        same_end = ends.get(PurePosixPath(image.file_name.replace("\\", "/")).name, [])
        if image.image_id is not None and image.image_id in by_id:
            index = by_id[image.image_id]
        elif image.file_name in by_name:
            index = by_name[image.file_name]
        elif len(same_end) == 1:
            index = same_end[0]
        else:
            what = f"{image.item} matches {'several images' if same_end else 'no image'} of {table.path}"
            raise InputError(corrections.path, what, "name the labels file that was exported")
        if index in found:
            raise InputError(corrections.path, f"{image.item} and {found[index].item} are the same image", "leave one out")
        found[index] = image
    return found


def _match(table: LabelTable, i: int, image: CorrectedImage, corrections: Corrections, min_score: float) -> _Rows:
    """Which rows of image `i` stay, and which boxes are human boxes."""
    start, end = _range(table, i)
    unseen = [row for row in range(start, end) if table.scores[row] < min_score]
    free = {int(table.annotation_ids[row]): row for row in range(start, end) if table.scores[row] >= min_score}
    boxes = [(box, *_read(table, i, image, box, corrections)) for box in image.boxes]
    kept, rest = [], []
    for box, label, corners in sorted(boxes, key=lambda one: one[0].annotation_id not in free):  # those that kept their id first
        candidates = [box.annotation_id] if box.annotation_id in free else list(free)
        same = [one for one in candidates if one in free and _is_same(table, free[one], label, corners, box.is_crowd)]
        if same:
            kept.append(free.pop(same[0]))
        else:
            rest.append((box, corners))
    rows = _Rows(sorted([*unseen, *kept]), sorted(kept))
    for box, corners in rest:
        was_here = box.annotation_id is not None and free.pop(box.annotation_id, None) is not None
        rows.drawn.append((box, corners, box.annotation_id if was_here and box.annotation_id else -1))
    return rows


def _read(
    table: LabelTable, i: int, image: CorrectedImage, box: CorrectedBox, corrections: Corrections
) -> tuple[int, np.ndarray]:
    """Class index and corners (4,) float32 in pixels, inside the image."""
    if box.label not in table.space.class_names:
        what = f"{image.item}: the class '{box.label}' is not in the class list of {table.path}"
        raise InputError(corrections.path, what, f"its classes are {', '.join(table.space.class_names)}")
    sides = table.sizes_hw[i, [1, 0, 1, 0]].astype(np.float64)
    with np.errstate(over="ignore"):  # what is too large has no area inside the image
        corners = np.array(box.box_xyxy) * (sides if image.is_relative else 1.0)
    clipped = np.round(np.clip(corners, 0, sides), 4)
    if not np.isfinite(corners).all() or (clipped[2:] <= clipped[:2]).any():
        what = f"{image.item}: the box {[round(value, 2) for value in corners.tolist()]} has no area inside the image"
        raise InputError(corrections.path, what, "delete it in the tool")
    return table.space.class_names.index(box.label), clipped.astype(np.float32)


def _is_same(table: LabelTable, row: int, label: int, corners: np.ndarray, is_crowd: bool) -> bool:
    moved = np.abs(table.boxes_xyxy[row].astype(np.float64) - corners).max()
    return bool(table.labels[row] == label and table.is_crowd[row] == is_crowd and moved <= SAME_BOX)


def _build(table: LabelTable, rows: list[_Rows]) -> LabelTable:
    """The table of the same images with the rows that stay, followed in each image by the human boxes."""
    drawn = [one for image in rows for one in image.drawn]
    boxes = [box for box, _, _ in drawn]
    kept = np.array([row for image in rows for row in image.kept], dtype=np.int64)
    counts = [(len(image.kept), len(image.drawn)) for image in rows]
    image_of = np.concatenate([np.repeat(np.arange(len(rows)), [pair[k] for pair in counts]) for k in (0, 1)])
    order = np.argsort(image_of, kind="stable")
    labels = np.array([table.space.class_names.index(box.label) for box in boxes], dtype=np.int64)

    def column(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        """Old values of the rows that stay and new ones of human boxes, in the order of the images."""
        return np.concatenate([old[kept], new.astype(old.dtype)])[order]

    scores, row_scores = table.class_scores, table.scores.copy()
    row_scores[[row for image in rows for row in image.accepted]] = 1.0
    entries = _provenance(table)
    by_person = [
        {"origin": "person", "space": table.space.name, "annotation_id": before if before > 0 else None} for _, _, before in drawn
    ]
    all_entries = [*(entries[row] for row in kept.tolist()), *by_person]
    return replace(
        table,
        offsets=np.concatenate([[0], np.cumsum([sum(pair) for pair in counts])]).astype(np.int64),
        boxes_xyxy=column(table.boxes_xyxy, np.array([corners for _, corners, _ in drawn]).reshape(-1, 4)),
        labels=column(table.labels, labels),
        scores=column(row_scores, np.ones(len(drawn))),
        is_crowd=column(table.is_crowd, np.array([box.is_crowd for box in boxes], dtype=bool)),
        annotation_ids=column(table.annotation_ids, np.arange(len(drawn)) + 1 + int(table.annotation_ids.max(initial=0))),
        class_scores=None if scores is None else joined_scores(scores[kept], one_hot(labels, len(table.space)))[order],
        provenance=columns_of([all_entries[i] for i in order.tolist()]),
    )


def _provenance(table: LabelTable) -> list[dict[str, Any]]:
    """Where the boxes of a table came from; without provenance, from the annotation of its own file."""
    if table.provenance is not None:
        return table.provenance.entries()
    origin = "pseudo_label" if table.info.get("method") == "pseudo_label" else "ground_truth"
    return [{"origin": origin, "space": table.space.name, "annotation_id": number} for number in table.annotation_ids.tolist()]
