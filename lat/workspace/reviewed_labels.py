"""Transferred labels as detectors are trained on them: as a person has reviewed them, where one has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lat.core.errors import InputError
from lat.core.files import sha256_of_file
from lat.core.remote import is_file
from lat.core.structures import LabeledBoxes
from lat.data.dataset import DetectionDataset
from lat.data.tensors import boxes_of
from lat.engine.announce import say
from lat.labels.coco.read import read_labels
from lat.labels.reviewed import Review, review_of, reviewed_path
from lat.labels.table import LabelTable, find_ids
from lat.workspace.label_files import read_transferred
from lat.workspace.workspace import Workspace


@dataclass(frozen=True, eq=False)
class ReviewedImages:
    """The images of a source on which a person has decided, with their labels in a target's space.

    Attributes:
        source: name of the source.
        images: (J,) int64, their indices in its training part.
        labels: of these images alone, in this order.
    """

    source: str
    images: np.ndarray
    labels: LabelTable

    def truth(self, j: int) -> LabeledBoxes:
        """The boxes of the j-th image: those that a person decided on, and the others as don't-care, with weight 0."""
        boxes = boxes_of(self.labels, j)
        return replace(boxes, weights=boxes.weights * (boxes.scores == 1.0))


class _Reviewed(NamedTuple):
    """A review, and what it says of itself."""

    labels: LabelTable
    review: Review


def trained_labels(workspace: Workspace, source: str, target: str) -> Path:
    """The file with the labels of `source` that detectors of `target` train on: the review of the transferred labels, if there is
    one, and else these.
    """
    found = _usable_review(workspace, source, target)
    return workspace.paths.transferred(source, target) if found is None else found.labels.path


def read_trained(workspace: Workspace, source: str, target: str) -> tuple[DetectionDataset, LabelTable]:
    """The images of `source` that detectors of `target` train on, and their labels, in the same order.

    Raises:
        InputError: if a file is wrong, or its images are not those of the source.
    """
    part, found = workspace.data.train_part(source), _usable_review(workspace, source, target)
    if found is None:
        _tell_of_old(workspace, source, target)
        return part, read_transferred(workspace, source, target)
    rows, seen = _rows_of(workspace, found.labels, source, target), len(found.review.image_ids)
    say(f"{found.labels.path}: {source} is trained on with the labels of its review, {seen} images of which a person saw")
    return part.select(rows), found.labels


def reviewed_images(workspace: Workspace) -> list[ReviewedImages]:
    """What people have decided on the transferred labels of a round, for each direction with a review that fits them."""
    images = []
    for source, target in workspace.transfers():
        if (found := _usable_review(workspace, source, target)) is not None:
            rows = _rows_of(workspace, found.labels, source, target)
            seen = np.isin(found.labels.image_ids, list(found.review.image_ids))
            images.append(ReviewedImages(source, rows[seen], found.labels.select(seen)))
    return images


def review_files(workspace: Workspace) -> tuple[Path, ...]:
    """The files behind `reviewed_images`."""
    found = (_usable_review(workspace, *pair) for pair in workspace.transfers())
    return tuple(one.labels.path for one in found if one is not None)


def _rows_of(workspace: Workspace, labels: LabelTable, source: str, target: str) -> np.ndarray:
    """The indices (J,) of the images of a review in the training part of the source."""
    part, space = workspace.data.train_part(source), workspace.data.space(target)
    if labels.space != space:
        read_labels(labels.path, target, expect=space)  # which says how they differ
    rows, known = find_ids(labels.image_ids, part.labels.image_ids)
    if not known.all() or [part.labels.file_names[row] for row in rows] != list(labels.file_names):
        what = f"its images are not those of {source}"
        raise InputError(labels.path, what, "review the labels of this run, or delete the file")
    return rows


def _usable_review(workspace: Workspace, source: str, target: str) -> _Reviewed | None:
    """The review beside the transferred labels of a round, if it is one of these.

    The labels of what was the last round when they were reviewed may lie elsewhere by now; their review stays where it was.
    """
    labels = workspace.paths.transferred(source, target)
    for path in _places(workspace, labels):
        if not is_file(path) or not is_file(labels):
            continue
        table = read_labels(path, target)
        if (review := review_of(table)) and review.labels_sha256 == sha256_of_file(labels):
            return _Reviewed(table, review)
    return None


def _tell_of_old(workspace: Workspace, source: str, target: str) -> None:
    labels = workspace.paths.transferred(source, target)
    path = reviewed_path(labels)
    if is_file(path):
        say(f"{path}: is a review of other labels than {labels.name} now has, and is left out; review these")


def _places(workspace: Workspace, labels: Path) -> tuple[Path, ...]:
    last = workspace.paths.root / "transferred" / labels.name
    return tuple(dict.fromkeys((reviewed_path(labels), reviewed_path(last))))
