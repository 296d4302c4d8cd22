"""What happened to the boxes of one image in the transfer: kept, moved, added, dropped, class changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from lat.evaluation.box_matching import matched_rows
from lat.labels.chunks import in_chunks
from lat.labels.table import LabelTable

MATCHED_IOU = 0.5  # IoU from which a transferred box matches a human box
KEPT_IOU = 0.9  # IoU from which a matched human box counts as kept, and not as moved


class Mark(StrEnum):
    """What became of a box: the first three are of transferred boxes, the last of human boxes."""

    KEPT = "kept"
    MOVED = "moved"
    ADDED = "added"
    DROPPED = "dropped"


@dataclass(frozen=True)
class Differences:
    """Differences between one image's transferred labels and its ground truth and pseudo-labels.

    Attributes:
        marks: one mark (kept, moved or added) for each transferred box, in order.
        source_rows: for each transferred box, the row of its ground-truth box; -1 for added boxes.
        dropped: rows of the ground-truth boxes that no transferred box matches.
        previous_classes: for each transferred box, the class name of its matching pseudo-label if the names differ, else "".
            Both are in one label space, so the names can be compared.
    """

    marks: tuple[Mark, ...]
    source_rows: tuple[int, ...]
    dropped: tuple[int, ...]
    previous_classes: tuple[str, ...]

    def __len__(self) -> int:
        """Number of differences; a box that moved and changed its class counts twice."""
        return sum(self.counts().values()) - self.counts()["kept"]

    def counts(self) -> dict[str, int]:
        """Number of boxes with each mark, and number that changed class."""
        counts = {mark.value: self.marks.count(mark) for mark in (Mark.KEPT, Mark.MOVED, Mark.ADDED)}
        return counts | {"dropped": len(self.dropped), "changed": sum(bool(name) for name in self.previous_classes)}


def find_differences(source: LabelTable, pseudo: LabelTable, transferred: LabelTable) -> list[Differences]:
    """Compare each image's transferred labels with its ground truth (boxes) and with its pseudo-labels (classes).

    Boxes match one to one as in `lat.evaluation.transfer_quality.agreement`, and the counts are the same. Crowd boxes of the
    ground truth are neither matched nor dropped. All tables have the same images in the same order.
    """
    return [one for tables in in_chunks(source, pseudo, transferred) for one in _of_some(*tables)]


def _of_some(source: LabelTable, pseudo: LabelTable, transferred: LabelTable) -> list[Differences]:
    real = np.flatnonzero(~source.is_crowd)
    first, second, iou = matched_rows(source.where(~source.is_crowd), transferred, MATCHED_IOU)
    marks = [Mark.ADDED] * transferred.num_boxes
    for row, is_kept in zip(second.tolist(), (iou >= KEPT_IOU).tolist(), strict=True):
        marks[row] = Mark.KEPT if is_kept else Mark.MOVED
    source_rows = np.full(transferred.num_boxes, -1)
    source_rows[second] = real[first] - source.offsets[source.image_of_box[real[first]]]
    dropped = np.delete(real, first)
    rows_dropped = dropped - source.offsets[source.image_of_box[dropped]]
    dropped_ends = np.searchsorted(dropped, source.offsets)
    names = _previous_classes(pseudo, transferred)
    return [
        Differences(
            marks=tuple(marks[rows]),
            source_rows=tuple(source_rows[rows].tolist()),
            dropped=tuple(rows_dropped[dropped_ends[i] : dropped_ends[i + 1]].tolist()),
            previous_classes=tuple(names[rows].tolist()),
        )
        for i, rows in enumerate(map(transferred.rows, range(len(transferred))))
    ]


def _previous_classes(pseudo: LabelTable, transferred: LabelTable) -> np.ndarray:
    first, second, _ = matched_rows(pseudo, transferred, MATCHED_IOU)
    differs = pseudo.labels[first] != transferred.labels[second]
    names = np.full(transferred.num_boxes, "", object)
    names[second[differs]] = np.array(pseudo.space.class_names, object)[pseudo.labels[first[differs]]]
    return names
