"""The baselines that make labels from existing ones, without training: `METHODS`.

LGPL, student-teacher training and label unification train their own models; their modules are in this folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lat.baselines.box_statistics import normalise_box_statistics
from lat.baselines.class_map import labels_by_class_map, read_class_map
from lat.baselines.class_names import averaged_union_labels, labels_by_class_names, union_labels
from lat.baselines.class_thresholds import above_class_thresholds
from lat.core.structures import LabeledBoxes
from lat.labels.table import LabelTable


@dataclass(frozen=True, eq=False)
class MethodInputs:
    """What a method may use to label the training images of one source; inputs that few methods need are read on demand.

    Attributes:
        source: ground truth of these images.
        target: ground truth of the target's training images.
        pseudo_labels: returns the pseudo-labels of each image in the target's label space.
        class_thresholds: returns the (K,) score thresholds of the target's classes, as `class_thresholds` chooses them.
        class_map: the file of a class map, or None.
    """

    source: LabelTable
    target: LabelTable
    pseudo_labels: Callable[[], list[LabeledBoxes]]
    class_thresholds: Callable[[], Tensor]
    class_map: Path | None = None


def in_target_classes(inputs: MethodInputs) -> list[LabeledBoxes]:
    """The source's human boxes in classes of the target: by the class map if there is one, otherwise by name.

    Raises:
        InputError: see `read_class_map`.
    """
    space = inputs.target.space
    if inputs.class_map is None:
        return labels_by_class_names(inputs.source, space)
    return labels_by_class_map(inputs.source, read_class_map(inputs.class_map, inputs.source.space, space), space)


def _class_names(inputs: MethodInputs) -> list[LabeledBoxes]:
    return labels_by_class_names(inputs.source, inputs.target.space)


def _box_statistics(inputs: MethodInputs) -> list[LabeledBoxes]:
    return normalise_box_statistics(in_target_classes(inputs), inputs.source.sizes_hw, inputs.target)


def _pseudo_label(inputs: MethodInputs) -> list[LabeledBoxes]:
    return inputs.pseudo_labels()


def _union(inputs: MethodInputs) -> list[LabeledBoxes]:
    return union_labels(_class_names(inputs), inputs.pseudo_labels())


def _averaged_union(inputs: MethodInputs) -> list[LabeledBoxes]:
    return averaged_union_labels(_class_names(inputs), inputs.pseudo_labels())


def _class_thresholds(inputs: MethodInputs) -> list[LabeledBoxes]:
    thresholds = inputs.class_thresholds()
    return [above_class_thresholds(boxes, thresholds) for boxes in inputs.pseudo_labels()]


METHODS: Mapping[str, Callable[[MethodInputs], list[LabeledBoxes]]] = {
    "class_names": _class_names,
    "class_map": in_target_classes,
    "box_statistics": _box_statistics,
    "pseudo_label": _pseudo_label,
    "union": _union,
    "union_averaged": _averaged_union,
    "class_thresholds": _class_thresholds,
}
"""Each method: from its inputs to the labels of each training image of the source, in the target's label space."""
