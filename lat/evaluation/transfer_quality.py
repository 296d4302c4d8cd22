"""Figures about a transfer that need no truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lat.core.structures import LabeledBoxes
from lat.evaluation.box_matching import match_boxes


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
    source: Sequence[LabeledBoxes], transferred: Sequence[LabeledBoxes], *, iou: float = 0.5, kept_iou: float = 0.9
) -> Agreement:
    """Compare transferred labels with the source's human boxes, over all images; one image is a sequence of one.

    Boxes are matched one to one at `iou`, whatever their classes (`match_boxes`); a match is kept at an IoU of `kept_iou` or
    more and moved below. Boxes of weight 0 (crowd, don't-care) are ignored.

    Args:
        source: the human boxes of each image in the source's label space; at least one image.
        transferred: the boxes of each image in the target's label space, in the same order of images.
    """
    source_space, target_space = source[0].space, transferred[0].space
    changes = np.zeros((len(source_space), len(target_space)), np.int64)
    kept = moved = added = dropped = 0
    for all_old, all_new in zip(source, transferred, strict=True):
        old, new = all_old[all_old.weights > 0], all_new[all_new.weights > 0]
        matches = match_boxes(old.boxes_xyxy.numpy(), new.boxes_xyxy.numpy(), iou)
        close = int((matches.iou >= kept_iou).sum())
        kept, moved = kept + close, moved + len(matches.iou) - close
        added, dropped = added + len(matches.second_unmatched), dropped + len(matches.first_unmatched)
        np.add.at(changes, (old.labels.numpy()[matches.first], new.labels.numpy()[matches.second]), 1)
    rows = tuple(tuple(row) for row in changes.tolist())
    return Agreement(kept, moved, added, dropped, rows, source_space.class_names, target_space.class_names)
