"""Transferred labels as detectors are trained on them: as a person has reviewed them, where one has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

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


def trained_labels(workspace: Workspace, source: str, target: str) -> Path:
    """The file with the labels of `source` that detectors of `target` train on: the review of the transferred labels, if there is
    one, and else these.
    """
    return _usable_review(workspace, source, target) or workspace.paths.transferred(source, target)


def read_trained(workspace: Workspace, source: str, target: str) -> tuple[DetectionDataset, LabelTable]:
    """The images of `source` that detectors of `target` train on, and their labels, in the same order.

    Raises:
        InputError: if a file is wrong, or its images are not those of the source.
    """
    part, path = workspace.data.train_part(source), _usable_review(workspace, source, target)
    if path is None:
        _tell_of_old(workspace, source, target)
        return part, read_transferred(workspace, source, target)
    labels, rows = _read(workspace, path, source, target)
    review = review_of(labels)
    assert review is not None
    say(f"{path}: {source} is trained on with the labels of its review, {len(review.image_ids)} images of which a person saw")
    return part.select(rows), labels


def reviewed_images(workspace: Workspace) -> list[ReviewedImages]:
    """What people have decided on the transferred labels of a round, for each direction with a review that fits them."""
    found = []
    for source, target in workspace.transfers():
        if (path := _usable_review(workspace, source, target)) is not None:
            labels, rows = _read(workspace, path, source, target)
            review = review_of(labels)
            assert review is not None
            seen = np.isin(labels.image_ids, list(review.image_ids))
            found.append(ReviewedImages(source, rows[seen], labels.select(seen)))
    return found


def review_files(workspace: Workspace) -> tuple[Path, ...]:
    """The files behind `reviewed_images`."""
    return tuple(path for pair in workspace.transfers() if (path := _usable_review(workspace, *pair)) is not None)


def _read(workspace: Workspace, path: Path, source: str, target: str) -> tuple[LabelTable, np.ndarray]:
    """A review, and the indices (J,) of its images in the training part of the source."""
    labels, part = read_labels(path, target, expect=workspace.data.space(target)), workspace.data.train_part(source)
    rows, known = find_ids(labels.image_ids, part.labels.image_ids)
    if not known.all() or [part.labels.file_names[row] for row in rows] != list(labels.file_names):
        raise InputError(path, f"its images are not those of {source}", "review the labels of this run, or delete the file")
    return labels, rows


def _usable_review(workspace: Workspace, source: str, target: str) -> Path | None:
    """The review beside the transferred labels of a round, if it is one of these.

    The labels of what was the last round when they were reviewed may lie elsewhere by now; their review stays where it was.
    """
    labels = workspace.paths.transferred(source, target)
    for path in _places(workspace, labels):
        if is_file(path) and is_file(labels) and (review := _review_in(path)) and review.labels_sha256 == sha256_of_file(labels):
            return path
    return None


def _tell_of_old(workspace: Workspace, source: str, target: str) -> None:
    labels = workspace.paths.transferred(source, target)
    path = reviewed_path(labels)
    if is_file(path):
        say(f"{path}: is a review of other labels than {labels.name} now has, and is left out; review these")


def _places(workspace: Workspace, labels: Path) -> tuple[Path, ...]:
    last = workspace.paths.root / "transferred" / labels.name
    return tuple(dict.fromkeys((reviewed_path(labels), reviewed_path(last))))


def _review_in(path: Path) -> Review | None:
    return review_of(read_labels(path, path.stem))
