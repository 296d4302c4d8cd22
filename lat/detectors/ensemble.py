"""Detections of several detectors of one label space as one set: those of one object are averaged (weighted boxes fusion).

Shape letters: C detections of all members on one image, N fused ones, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from lat.core.structures import LabeledBoxes

SAME_OBJECT_IOU = 0.55  # from this overlap on, detections of one class by different members are of one object


def fuse_members(members: Sequence[LabeledBoxes]) -> LabeledBoxes:
    """The detections of all members on one image, those of one object and class averaged, best first.

    A box is the mean of its members' boxes, weighted by score. Class scores are the mean over all members; one without a
    detection of the object counts as zero, so what members agree on has a higher score. Of a member that has several
    detections of one object, the one that overlaps the best of all members most is taken.

    Args:
        members: one entry per detector, at least one, each best first and with class scores.

    Returns:
        (N,) boxes; a single member's own are unchanged.

    Source: Solovyev, Wang and Gabruseva, Weighted Boxes Fusion (2021); the mean over members is their rescaled confidence.
    """
    if len(members) == 1:
        return members[0]
    space = members[0].space
    boxes = torch.cat([one.boxes_xyxy for one in members])
    labels, scores = torch.cat([one.labels for one in members]), torch.cat([one.scores for one in members])
    class_scores = torch.cat([_class_scores(one) for one in members])
    member = torch.cat([torch.full((len(one),), i) for i, one in enumerate(members)])
    best = batched_nms(boxes, scores, labels, SAME_OBJECT_IOU)
    rows, into = _members_of(boxes, labels, scores, member, best)
    weights = scores[rows].clamp(min=1e-6)
    total = torch.zeros(len(best)).index_add_(0, into, weights)
    fused = torch.zeros(len(best), 4).index_add_(0, into, weights[:, None] * boxes[rows]) / total[:, None]
    mean = torch.zeros(len(best), len(space)).index_add_(0, into, class_scores[rows]) / len(members)
    found = LabeledBoxes(
        fused, labels[best], space, scores=mean.gather(1, labels[best][:, None]).flatten(), class_scores=mean.clamp(max=1.0)
    )
    return found[found.scores.argsort(descending=True, stable=True)]


def _members_of(boxes: Tensor, labels: Tensor, scores: Tensor, member: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    """(P,) rows of detections and (P,) places in `best` that they are averaged into: at most one of each member for each."""
    iou = box_iou(boxes, boxes[best]).masked_fill(labels[:, None] != labels[best], 0.0)
    iou[best, torch.arange(len(best))] = 2.0  # each of the best is its own
    overlap, into = iou.max(dim=1) if len(best) else (scores, labels)
    joins = overlap >= SAME_OBJECT_IOU
    rows = joins.nonzero().flatten()
    order = rows[overlap[rows].argsort(descending=True, stable=True)]
    group = into[order] * (int(member.max()) + 1 if len(member) else 1) + member[order]
    first = torch.zeros(len(order), dtype=torch.bool)
    by_group = group.argsort(stable=True)
    first[by_group] = torch.cat([torch.ones(min(1, len(order)), dtype=torch.bool), group[by_group].diff() != 0])
    chosen = order[first]
    return chosen, into[chosen]


def _class_scores(boxes: LabeledBoxes) -> Tensor:
    assert boxes.class_scores is not None, "a detector's boxes have class scores"
    return boxes.class_scores
