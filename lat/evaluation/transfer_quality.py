"""Figures about a transfer that need no truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lat.core.structures import LabeledBoxes
from lat.evaluation.box_matching import matched_rows
from lat.labels.chunks import chunks_of
from lat.labels.table import LabelTable


@dataclass(frozen=True)
class Agreement:
    """How transferred labels differ from the source's human boxes.

    Attributes:
        kept: human boxes that a transferred box matches closely.
        moved: human boxes that a transferred box matches less closely.
        added: transferred boxes that match no human box.
        dropped: human boxes that no transferred box matches.
        class_changes: one row per source class, with the number of its matched boxes in each target class.
        source_classes: names of the rows.
        target_classes: names of the columns.
    """

    kept: int
    moved: int
    added: int
    dropped: int
    class_changes: tuple[tuple[int, ...], ...]
    source_classes: tuple[str, ...]
    target_classes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON types; `class_changes` as {source class: {target class: count}} without zeros."""
        changes = {
            name: {column: count for column, count in zip(self.target_classes, row, strict=True) if count}
            for name, row in zip(self.source_classes, self.class_changes, strict=True)
        }
        return {
            "kept": self.kept,
            "moved": self.moved,
            "added": self.added,
            "dropped": self.dropped,
            "class_changes": changes,
        }


def agreement(
    source: LabelTable | Sequence[LabeledBoxes],
    transferred: LabelTable | Sequence[LabeledBoxes],
    *,
    iou: float = 0.5,
    kept_iou: float = 0.9,
) -> Agreement:
    """Compare transferred labels with the source's human boxes, over all images; one image is a sequence of one.

    Boxes are matched one to one at `iou`, whatever their classes (`match_rows`); a match is kept at an IoU of `kept_iou` or
    more and moved below. Boxes of weight 0 (crowd, don't-care) are ignored.

    Args:
        source: the human boxes of each image in the source's label space; at least one image.
        transferred: the boxes of each image in the target's label space, in the same order of images.
    """
    source_space, target_space = (
        labels.space if isinstance(labels, LabelTable) else labels[0].space for labels in (source, transferred)
    )
    changes = np.zeros((len(source_space), len(target_space)), np.int64)
    kept = moved = added = dropped = 0
    assert len(source) == len(transferred), "labels of the same images"
    for images in chunks_of(len(source)):
        old, new = _joined(source, images), _joined(transferred, images)
        first, second, overlap = matched_rows(old, new, iou)
        close = int((overlap >= kept_iou).sum())
        kept, moved = kept + close, moved + len(first) - close
        added, dropped = added + len(new.labels) - len(first), dropped + len(old.labels) - len(first)
        np.add.at(changes, (old.labels[first], new.labels[second]), 1)
    rows = tuple(tuple(row) for row in changes.tolist())
    return Agreement(kept, moved, added, dropped, rows, source_space.class_names, target_space.class_names)


@dataclass(frozen=True, eq=False)
class _Joined:
    """Boxes (N, 4) and classes (N,) of several images; those of image i are at `offsets[i]:offsets[i + 1]`."""

    boxes_xyxy: np.ndarray
    labels: np.ndarray
    offsets: np.ndarray


def _joined(labels: LabelTable | Sequence[LabeledBoxes], images: range) -> _Joined:
    """The boxes of images that count."""
    if isinstance(labels, LabelTable):
        some = labels.select(np.arange(images.start, images.stop))
        some = some.where(~some.is_crowd)
        return _Joined(some.boxes_xyxy, some.labels, some.offsets)
    each = labels[images.start : images.stop]
    counted = [boxes.weights.numpy() > 0 for boxes in each]
    return _Joined(
        np.concatenate([boxes.boxes_xyxy.numpy()[rows] for boxes, rows in zip(each, counted, strict=True)]),
        np.concatenate([boxes.labels.numpy()[rows] for boxes, rows in zip(each, counted, strict=True)]),
        np.concatenate([[0], np.cumsum([rows.sum() for rows in counted])]).astype(np.int64),
    )
