"""What happened to the boxes of one image in the transfer: kept, moved, added, dropped, class changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lat.core.structures import LabeledBoxes
from lat.evaluation.box_matching import match_boxes

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


def find_differences(source: LabeledBoxes, pseudo: LabeledBoxes, transferred: LabeledBoxes) -> Differences:
    """Compare one image's transferred labels with its ground truth (boxes) and with its pseudo-labels (classes).

    Boxes match one to one as in `lat.evaluation.transfer_quality.agreement`, and the counts are the same. Don't-care boxes
    of the ground truth (weight 0: crowds) are neither matched nor dropped.
    """
    real = (source.weights > 0).nonzero().flatten()
    matches = match_boxes(source.boxes_xyxy[real].numpy(), transferred.boxes_xyxy.numpy(), MATCHED_IOU)
    marks, source_rows = [Mark.ADDED] * len(transferred), [-1] * len(transferred)
    kept = (matches.iou >= KEPT_IOU).tolist()
    for source_row, row, is_kept in zip(real[matches.first].tolist(), matches.second.tolist(), kept, strict=True):
        marks[row], source_rows[row] = Mark.KEPT if is_kept else Mark.MOVED, source_row
    return Differences(
        marks=tuple(marks),
        source_rows=tuple(source_rows),
        dropped=tuple(real[matches.first_unmatched].tolist()),
        previous_classes=_previous_classes(pseudo, transferred),
    )


def _previous_classes(pseudo: LabeledBoxes, transferred: LabeledBoxes) -> tuple[str, ...]:
    matches = match_boxes(pseudo.boxes_xyxy.numpy(), transferred.boxes_xyxy.numpy(), MATCHED_IOU)
    names = [""] * len(transferred)
    for pseudo_row, row in zip(matches.first.tolist(), matches.second.tolist(), strict=True):
        if pseudo.labels[pseudo_row] != transferred.labels[row]:
            names[row] = pseudo.space.class_names[int(pseudo.labels[pseudo_row])]
    return tuple(names)
