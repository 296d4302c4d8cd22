"""Map the classes of a source to the target's by a hand-made table, as MSeg does for whole datasets.

The table is for one target. For each source it lists every class, so that none is forgotten:

    way:
      vehicle: car
      pedestrian: person
      barrier: null  # no such class in the target
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lat.core.documents import read_yaml
from lat.core.errors import InputError, did_you_mean, looked_for
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.labels.table import LabelTable


def read_class_map(path: Path, source: LabelSpace, target: LabelSpace) -> Tensor:
    """Read the classes of one source from a table.

    Args:
        path: YAML file {source dataset: {source class: class of the target, or null for none}}.
        source: the label space of the source, K_s classes.
        target: the label space that the table maps to.

    Returns:
        (K_s,) int64 class of the target for each class of the source; -1 for none.

    Raises:
        InputError: if the file is missing or not YAML, lacks the source or one of its classes, or names a class that the source
            or the target does not have (the nearest name is suggested).

    Source: Lambert et al., MSeg: A Composite Dataset for Multi-domain Semantic Segmentation (2020), taxonomy by hand.
    """
    classes = _classes_of(Path(path), source)
    for name in classes:
        if name not in source.class_names:
            raise InputError(path, f"there is no class '{name}' in {source.name}", did_you_mean(name, source.class_names))
    missing = [name for name in source.class_names if name not in classes]
    if missing:
        what = f"lacks {'the class' if len(missing) == 1 else 'the classes'} {', '.join(missing)} of {source.name}"
        raise InputError(path, what, "name its class in the target, or null for none")
    return torch.tensor([_target_class(path, source, name, classes[name], target) for name in source.class_names])


def _classes_of(path: Path, source: LabelSpace) -> dict[str, Any]:
    """The part of the file for one source, by class name."""
    try:
        content = read_yaml(path, Any)
    except FileNotFoundError:
        raise InputError(path, f"there is no such class map{looked_for(path)}", "check the path") from None
    if not isinstance(content, dict) or not all(isinstance(part, dict) for part in content.values()):
        remedy = "write {source dataset: {source class: target class}}"
        raise InputError(path, "is not a table of classes by source dataset", remedy)
    sources = {str(name): part for name, part in content.items()}
    if source.name not in sources:
        raise InputError(path, f"has no dataset '{source.name}'", did_you_mean(source.name, list(sources)))
    return {str(name): value for name, value in sources[source.name].items()}


def _target_class(path: Path, source: LabelSpace, name: str, value: object, target: LabelSpace) -> int:
    if value is None:
        return -1
    if str(value) not in target.class_names:
        what = f"{source.name} {name}: there is no class '{value}' in {target.name}"
        raise InputError(path, what, did_you_mean(value, target.class_names))
    return target.class_names.index(str(value))


def labels_by_class_map(source: LabelTable, target_of: Tensor, target: LabelSpace) -> list[LabeledBoxes]:
    """The source's human boxes, mapped to classes of the target; crowd boxes are left out.

    Args:
        source: the labels of a dataset of K_s classes.
        target_of: (K_s,) int64 class of the target for each class of the source; boxes of a class with -1 are left out.
        target: the label space of the result.

    Returns:
        The boxes of each image of `source`, in its order, with score 1 and the annotation ids of the source.
    """
    assert target_of.shape == (len(source.space),)
    labels = target_of[torch.from_numpy(source.labels)]
    kept = (labels >= 0) & ~torch.from_numpy(source.is_crowd)
    boxes_xyxy, ids = (torch.from_numpy(column)[kept] for column in (source.boxes_xyxy, source.annotation_ids))
    before = np.concatenate([[0], np.cumsum(kept.numpy())])[source.offsets]
    return LabeledBoxes(boxes_xyxy, labels[kept], target, annotation_ids=ids).split(np.diff(before).tolist())
