"""Labels to compare a transfer with, and figures about a transfer that need no truth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.data.tensors import boxes_of
from lat.labels.table import LabelTable


def labels_by_class_names(source: LabelTable, target: LabelSpace) -> list[LabeledBoxes]:
    """What people do today: the source's own boxes, in the target's class of the same name; the others are left out.

    For what names match see `classes_by_name`, for what is returned `labels_by_class_map`.
    """
    return labels_by_class_map(source, classes_by_name(source.space, target), target)


def classes_by_name(source: LabelSpace, target: LabelSpace) -> Tensor:
    """(K_s,) int64 class of the target with the name of each class of the source; -1 for none.

    Names match where they differ only in case, surrounding blanks, or blank, hyphen and underscore; an exact match comes first.
    """
    exact = {name: k for k, name in enumerate(target.class_names)}
    loose = {_normalised(name): k for k, name in reversed(list(enumerate(target.class_names)))}
    return torch.tensor([exact.get(name, loose.get(_normalised(name), -1)) for name in source.class_names])


def labels_by_class_map(source: LabelTable, target_of: Tensor, target: LabelSpace) -> list[LabeledBoxes]:
    """The source's own boxes in the classes of the target that a map gives them; crowd boxes are left out.

    Args:
        source: the labels of a dataset of K_s classes.
        target_of: (K_s,) int64 class of the target for each class of the source; boxes of a class with -1 are left out.
        target: the label space of the result.

    Returns:
        The boxes of each image of `source`, in its order, with score 1 and the annotation ids of the source.
    """
    assert target_of.shape == (len(source.space),)
    images = []
    for i in range(len(source)):
        boxes = boxes_of(source, i)
        labels = target_of[boxes.labels]
        kept = (labels >= 0) & (boxes.weights > 0)
        images.append(LabeledBoxes(boxes.boxes_xyxy[kept], labels[kept], target, annotation_ids=boxes.annotation_ids[kept]))
    return images


def _normalised(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def union_labels(by_name: Sequence[LabeledBoxes], pseudo: Sequence[LabeledBoxes], iou: float = 0.5) -> list[LabeledBoxes]:
    """For each image, the boxes of `by_name`, and after them the pseudo-labels whose IoU with each of those, whatever the
    classes, is below `iou`. Both are in one label space; class scores are not kept.
    """
    images = []
    for ours, theirs in zip(by_name, pseudo, strict=True):
        assert ours.space == theirs.space
        overlaps = box_iou(theirs.boxes_xyxy, ours.boxes_xyxy) >= iou
        added = theirs[~overlaps.any(dim=1)]
        names = ("boxes_xyxy", "labels", "scores", "weights", "annotation_ids")
        joined = {name: torch.cat([getattr(ours, name), getattr(added, name)]) for name in names}
        images.append(LabeledBoxes(space=ours.space, **joined))
    return images


@dataclass(frozen=True, eq=False)
class BoxMatches:
    """One-to-one matches between N first and M second boxes.

    Attributes:
        first: (P,) int64 indices 0..N-1 of the matched first boxes, rising.
        second: (P,) int64 indices 0..M-1 of their partners.
        iou: (P,) float32 IoU of each pair.
        first_unmatched: indices of the other first boxes, rising.
        second_unmatched: indices of the other second boxes, rising.
    """

    first: Tensor
    second: Tensor
    iou: Tensor
    first_unmatched: Tensor
    second_unmatched: Tensor


def match_boxes(
    first_xyxy: Tensor,
    second_xyxy: Tensor,
    iou: float = 0.5,
    *,
    allowed: Tensor | None = None,
    second_scores: Tensor | None = None,
) -> BoxMatches:
    """Match boxes (N, 4) and (M, 4) one to one: the pair with the highest IoU first, then the next among those still free,
    as long as the IoU is at least `iou`. Of equal pairs the one with the lower indices comes first.

    Args:
        first_xyxy: (N, 4) float.
        second_xyxy: (M, 4) float.
        iou: least IoU of a pair.
        allowed: (N, M) bool, pairs that may be matched, by default all.
        second_scores: (M,) float; where given, the pairs of a second box of higher score come before those of a lower one.
    """
    overlaps = box_iou(first_xyxy, second_xyxy)
    close = overlaps >= iou
    rows, columns = (close if allowed is None else close & allowed).nonzero(as_tuple=True)
    order = overlaps[rows, columns].argsort(descending=True, stable=True)
    if second_scores is not None:
        order = order[second_scores[columns[order]].argsort(descending=True, stable=True)]
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in partner and column not in taken:
            partner[row] = column
            taken.add(column)
    first = torch.tensor(sorted(partner), dtype=torch.int64)
    second = torch.tensor([partner[row] for row in first.tolist()], dtype=torch.int64)
    return BoxMatches(
        first=first,
        second=second,
        iou=overlaps[first, second],
        first_unmatched=_others(len(first_xyxy), first),
        second_unmatched=_others(len(second_xyxy), second),
    )


def _others(count: int, indices: Tensor) -> Tensor:
    free = torch.ones(count, dtype=torch.bool)
    free[indices] = False
    return free.nonzero().flatten()


@dataclass(frozen=True)
class Agreement:
    """How transferred labels differ from the source's own boxes.

    Attributes:
        kept: source boxes that a transferred box matches closely.
        moved: source boxes that a transferred box matches less closely.
        added: transferred boxes that match no source box.
        dropped: source boxes that no transferred box matches.
        class_changes: for each source class a row with the number of its matched boxes in each target class.
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
    """Compare transferred labels with the source's own boxes, over all images; one image is a sequence of one.

    Boxes are matched one to one at `iou`, whatever their classes (`match_boxes`); a match is kept at an IoU of `kept_iou` or
    more and moved below. Boxes of weight 0 (crowd, don't-care) take no part.

    Args:
        source: the boxes of each image in the source's label space; at least one image.
        transferred: the boxes of each image in the target's label space, in the same order of images.
    """
    source_space, target_space = source[0].space, transferred[0].space
    changes = torch.zeros(len(source_space), len(target_space), dtype=torch.int64)
    kept = moved = added = dropped = 0
    for all_old, all_new in zip(source, transferred, strict=True):
        old, new = all_old[all_old.weights > 0], all_new[all_new.weights > 0]
        matches = match_boxes(old.boxes_xyxy, new.boxes_xyxy, iou)
        close = int((matches.iou >= kept_iou).sum())
        kept, moved = kept + close, moved + len(matches.iou) - close
        added, dropped = added + len(matches.second_unmatched), dropped + len(matches.first_unmatched)
        pairs = (old.labels[matches.first], new.labels[matches.second])
        changes.index_put_(pairs, torch.ones(len(matches.iou), dtype=torch.int64), accumulate=True)
    rows = tuple(tuple(row) for row in changes.tolist())
    return Agreement(kept, moved, added, dropped, rows, source_space.class_names, target_space.class_names)
