"""Images and the boxes of label tables as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import overload
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from lat.core.structures import LabeledBoxes
from lat.labels.class_scores import TopScores
from lat.labels.table import LabelTable

_checked: WeakKeyDictionary[LabelTable, LabeledBoxes] = WeakKeyDictionary()  # the boxes of all images of a table, checked once


def unit_range(pixels: Tensor) -> Tensor:
    """Pixels (3, H, W) uint8 as float32 in [0, 1] on their device; any other tensor is in that range and unchanged.

    On a CPU the result is contiguous; on a GPU it keeps the order of a decoder, channels last.
    """
    if pixels.dtype != torch.uint8:
        return pixels
    floats = torch.empty(pixels.shape).copy_(pixels) if pixels.device.type == "cpu" else pixels.float()
    return floats.div_(255.0)


def boxes_of(table: LabelTable, i: int) -> LabeledBoxes:
    """The boxes of image `i` of a table, including crowd boxes with weight 0."""
    rows = table.rows(i)
    boxes = _all_boxes(table).copied(rows)
    if isinstance(table.class_scores, TopScores):
        return replace(boxes, class_scores=torch.from_numpy(table.class_scores[rows].dense()))
    return boxes


def boxes_of_all(table: LabelTable) -> LabeledBoxes:
    """The boxes of all images of a table, in order, including crowd boxes with weight 0; they may share the table's memory."""
    boxes = _all_boxes(table)
    if isinstance(table.class_scores, TopScores):
        return replace(boxes, class_scores=torch.from_numpy(table.class_scores.dense()))
    return boxes


def boxes_per_image(table: LabelTable) -> Sequence[LabeledBoxes]:
    """The boxes of every image, in order; see `boxes_of`. Those of an image are made when it is asked for."""
    return _BoxesPerImage(table)


class _BoxesPerImage(Sequence[LabeledBoxes]):
    def __init__(self, table: LabelTable) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, i: int) -> LabeledBoxes: ...

    @overload
    def __getitem__(self, i: slice) -> list[LabeledBoxes]: ...

    def __getitem__(self, i: int | slice) -> LabeledBoxes | list[LabeledBoxes]:
        images = range(len(self))[i]  # an index out of range ends a loop
        return boxes_of(self.table, images) if isinstance(images, int) else [boxes_of(self.table, each) for each in images]


def _all_boxes(table: LabelTable) -> LabeledBoxes:
    """The boxes of all images, sharing the table's memory; without class scores where the table has but the highest."""
    if table not in _checked:
        _checked[table] = LabeledBoxes(
            boxes_xyxy=torch.from_numpy(table.boxes_xyxy),
            labels=torch.from_numpy(table.labels),
            space=table.space,
            scores=torch.from_numpy(table.scores),
            class_scores=torch.from_numpy(table.class_scores) if isinstance(table.class_scores, np.ndarray) else None,
            weights=torch.from_numpy(~table.is_crowd).float(),
            annotation_ids=torch.from_numpy(table.annotation_ids),
        )
    return _checked[table]
