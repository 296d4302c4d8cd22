"""Map the classes of a source to the target's by name, as is usual; and the union of the result with pseudo-labels."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou

from lat.baselines.class_map import labels_by_class_map
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.labels.table import LabelTable


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
        assert named.space == found.space
        is_near = box_iou(found.boxes_xyxy, named.boxes_xyxy) >= iou
        added = found[~is_near.any(dim=1)]
        columns = ("boxes_xyxy", "labels", "scores", "weights", "annotation_ids")
        joined = {name: torch.cat([getattr(named, name), getattr(added, name)]) for name in columns}
        images.append(LabeledBoxes(space=named.space, **joined))
    return images
