"""Map the classes of a source to the target's by name, as is usual; and two unions of the result with pseudo-labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lat.baselines.class_map import labels_by_class_map
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.labels.table import LabelTable

LEAST_SCORE = 0.6  # of a human box in `averaged_union_labels`


def labels_by_class_names(source: LabelTable, target: LabelSpace) -> list[LabeledBoxes]:
    """The source's human boxes, each in the target's class of the same name; boxes of other classes are left out.

    Names match as in `classes_by_name`; the result is that of `labels_by_class_map`.
    """
    return labels_by_class_map(source, classes_by_name(source.space, target), target)


def classes_by_name(source: LabelSpace, target: LabelSpace) -> Tensor:
    """(K_s,) int64 class of the target with the name of each class of the source; -1 for none.

    Names match if they differ only in case, surrounding blanks, or blank, hyphen and underscore; exact matches take precedence.
    """
    exact = {name: k for k, name in enumerate(target.class_names)}
    loose = {_normalised(name): k for k, name in reversed(list(enumerate(target.class_names)))}
    return torch.tensor([exact.get(name, loose.get(_normalised(name), -1)) for name in source.class_names])


def _normalised(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def union_labels(by_name: Sequence[LabeledBoxes], pseudo: Sequence[LabeledBoxes], iou: float = 0.5) -> list[LabeledBoxes]:
    """For each image, the boxes of `by_name`, followed by the pseudo-labels whose IoU with each of those is below `iou`.

    Overlap ignores classes. Both lists are in one label space; class scores are dropped.
    """
    images = []
    for named, found in zip(by_name, pseudo, strict=True):
        is_near = _overlaps(found, named) >= iou
        images.append(_joined(named, found[~is_near.any(dim=1)]))
    return images


def _overlaps(rows: LabeledBoxes, columns: LabeledBoxes) -> Tensor:
    """(R, C) IoU of boxes."""
    from torchvision.ops import box_iou  # takes as long to import as torch, and nothing else of an evaluation needs it

    overlaps: Tensor = box_iou(rows.boxes_xyxy, columns.boxes_xyxy)
    return overlaps


def averaged_union_labels(
    by_name: Sequence[LabeledBoxes], pseudo: Sequence[LabeledBoxes], iou: float = 0.5
) -> list[LabeledBoxes]:
    """The union with pseudo-labels, in which each box of `by_name` is averaged with the pseudo-label that overlaps it most.

    A box of `by_name` whose best IoU is `iou` or more keeps its class; its corners are the means of both boxes' corners, and its
    score is the pseudo-label's, at least `LEAST_SCORE`. One without such a pseudo-label keeps its place and has `LEAST_SCORE`.
    Pseudo-labels are added as in `union_labels`, as they are. Overlap ignores classes; class scores are dropped.
    """
    images = []
    for named, found in zip(by_name, pseudo, strict=True):
        overlaps = _overlaps(named, found)
        is_near = overlaps >= iou
        boxes, scores = named.boxes_xyxy.clone(), torch.full_like(named.scores, LEAST_SCORE)
        rows = is_near.any(dim=1).nonzero().flatten()
        if len(rows):
            partners = found[overlaps[rows].argmax(dim=1)]
            boxes[rows] = (boxes[rows] + partners.boxes_xyxy) / 2
            scores[rows] = partners.scores.clamp(min=LEAST_SCORE)
        images.append(_joined(replace(named, boxes_xyxy=boxes, scores=scores), found[~is_near.any(dim=0)]))
    return images


def _joined(named: LabeledBoxes, added: LabeledBoxes) -> LabeledBoxes:
    assert named.space == added.space
    columns = ("boxes_xyxy", "labels", "scores", "weights", "annotation_ids")
    joined = {name: torch.cat([getattr(named, name), getattr(added, name)]) for name in columns}
    return LabeledBoxes(space=named.space, **joined)
