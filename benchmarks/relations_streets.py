"""Relations between the street scenes' label spaces: the true ones, by two definitions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from lat.data.street_scenes.canvas import Extent
from lat.data.street_scenes.protocols import PaintedUser, annotate
from lat.data.street_scenes.scene import RIDDEN_SHARES, Kind
from lat.label_space import LabelSpace
from lat.relations.relation_matrix import RelationMatrix
from lat.relations.taxonomies import with_standalone
from lat.stages.workspace import Workspace

SAME_BOX_IOU = 0.5
SAME_BOX_SHARE = 0.2


def related_by_object(first: LabelSpace, second: LabelSpace) -> Tensor:
    """Edges (K1 + 1, K2 + 1) bool: two classes are related if the protocols use both for one road user, or for a part of it.

    Every kind of road user, ridden or not, is labelled in full view under both protocols.
    """
    related = torch.zeros(len(first), len(second), dtype=torch.bool)
    for of_first, of_second in _labelled(first, second):
        for i, j in product(of_first, of_second):
            related[i, j] = True
    return with_standalone(related)


def narrower_by_object(first: LabelSpace, second: LabelSpace) -> Tensor:
    """(K1, K2) bool: first classes that are a kind of a second class.

    Whenever a road user has a box of the first class, and the second protocol labels it at all, it has a box of the second class
    there: a car is a vehicle, a bicycle that `way` labels has a rider and is a cyclist, a rider may sit on either two-wheeler.
    """
    narrower = torch.ones(len(first), len(second), dtype=torch.bool)
    for of_first, of_second in _labelled(first, second):
        if of_second:
            for i, j in product(of_first, set(range(len(second))) - of_second):
                narrower[i, j] = False
    return narrower


def mistaken(found: RelationMatrix, threshold: float) -> list[str]:
    """Directed relations with a share of `threshold` that are false, and those that are true but missed, as `a > b`."""
    lines = []
    for one, other, shares in (
        (found.first, found.second, found.first_to_second),
        (found.second, found.first, found.second_to_first),
    ):
        truth = narrower_by_object(one, other)
        for i, j in ((shares[:, :-1] >= threshold) != truth).nonzero().tolist():
            pair = f"{one.name}.{one.class_names[i]} > {other.name}.{other.class_names[j]}"
            lines.append(f"{'missed' if truth[i, j] else 'false'} {pair} ({shares[i, j]:.2f})")
    return lines


def _labelled(first: LabelSpace, second: LabelSpace) -> Iterator[tuple[set[int], set[int]]]:
    """The classes that both protocols give each kind of road user, ridden or not, in full view."""
    for kind, is_ridden in product(Kind, (False, True)):
        if not is_ridden or kind in RIDDEN_SHARES:
            user = PaintedUser(kind, _extent(20, 40), _extent(0, 20) if is_ridden else None)
            of_first, of_second = (
                {space.class_names.index(one.class_name) for one in annotate([user], space.name)} for space in (first, second)
            )
            yield of_first, of_second


def _extent(top: int, bottom: int) -> Extent:
    mask = np.zeros((40, 40), dtype=bool)
    mask[top:bottom] = True
    return Extent(mask, mask)


def related_by_box(workspace: Workspace, first: str, second: str) -> Tensor:
    """Edges (K1 + 1, K2 + 1) bool: two classes are related if they have the same boxes, by the truth files of both datasets.

    At least `SAME_BOX_SHARE` of the boxes of one of the two classes must overlap a box of the other with `SAME_BOX_IOU`.
    """
    forward, backward = _same_boxes(workspace, first, second), _same_boxes(workspace, second, first)
    return with_standalone(torch.maximum(forward, backward.T) >= SAME_BOX_SHARE)


def _same_boxes(workspace: Workspace, dataset: str, space: str) -> Tensor:
    """(K, K') share of the boxes of each class of a dataset that are boxes of each class of another space, too."""
    part, truth = workspace.train_part(dataset), workspace.read_truth(dataset, space)
    assert truth is not None
    counts, totals = torch.zeros(len(part.space), len(truth.space)), torch.zeros(len(part.space))
    for i in range(len(part)):
        own, other = part.boxes(i), truth.boxes(i)
        totals += torch.bincount(own.labels, minlength=len(totals))
        if len(own) and len(other):
            iou, best = box_iou(own.boxes_xyxy, other.boxes_xyxy).max(dim=1)
            same = iou >= SAME_BOX_IOU
            counts.index_put_((own.labels[same], other.labels[best[same]]), torch.ones(int(same.sum())), accumulate=True)
    return counts / totals[:, None].clamp(min=1)
