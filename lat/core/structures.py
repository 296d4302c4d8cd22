"""The structures passed between packages: labelled boxes and proposals of one image.

Both check themselves once, on creation, and are frozen afterwards. Shape letters: N labelled boxes, M proposals,
K classes of the space (of the joint label space for proposals).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from lat.core.copies import to_device
from lat.core.label_space import LabelSpace


def _check(tensor: Tensor, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype != dtype:
        raise ValueError(f"{name} must be {shape} {dtype}, got {tuple(tensor.shape)} {tensor.dtype}")
    if dtype.is_floating_point:
        values = _quick(tensor)
        finite = np.isfinite(values) if isinstance(values, np.ndarray) else torch.isfinite(values)
        if not finite.all():
            raise ValueError(f"{name} contains NaN or infinity")


def _check_boxes(boxes_xyxy: Tensor) -> None:
    _check(boxes_xyxy, "boxes_xyxy", (len(boxes_xyxy), 4), torch.float32)
    corners = _quick(boxes_xyxy)
    if (corners[:, 2:] < corners[:, :2]).any():
        raise ValueError("boxes_xyxy must have x1 <= x2 and y1 <= y2")


def _quick(tensor: Tensor) -> Any:
    """A tensor of the CPU as an array, which looks at a few numbers in a third of the time; any other as it is."""
    return tensor.detach().numpy() if tensor.device.type == "cpu" else tensor


@dataclass(frozen=True, eq=False)
class _PerBox:
    """Base of structures whose tensor fields all have one row per box."""

    def __getitem__(self, rows: Tensor | slice) -> Self:
        """The chosen rows (bool mask, int64 indices or slice) of every per-box field."""
        return self._with({name: column[rows] for name, column in self._columns().items()})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All boxes of several, at least one, in order; all have the same columns."""
        columns = [part._columns() for part in parts]  # already checked
        return parts[0]._with({name: torch.cat([each[name] for each in columns]) for name in columns[0]})

    def split(self, counts: list[int]) -> list[Self]:
        """Split into consecutive parts of `counts` boxes, such as one part per image; copies, not views."""
        columns = {name: column[: sum(counts)].split(counts) for name, column in self._columns().items()}
        return [self._with({name: parts[i].clone() for name, parts in columns.items()}) for i in range(len(counts))]

    def copied(self, rows: slice) -> Self:
        """Consecutive rows of every per-box field as copies, not views: pickling a view would pickle all rows."""
        return self._with({name: column[rows].clone() for name, column in self._columns().items()})

    def to(self, device: torch.device | str) -> Self:
        """The same boxes on another device; nobody waits for a copy to a GPU."""
        return self._with({name: to_device(column, device) for name, column in self._columns().items()})

    def pin_memory(self) -> Self:
        """The same boxes in memory that a GPU copies by itself, and no longer in files that a reading process shares."""
        return self._with({name: column.pin_memory() for name, column in self._columns().items()})

    def _with(self, columns: dict[str, Tensor]) -> Self:
        """A copy with other columns, unchecked: they are rows of checked columns."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, **columns)
        return other

    def _columns(self) -> dict[str, Any]:
        return {name: column for name, column in self.__dict__.items() if isinstance(column, Tensor)}


@dataclass(frozen=True, eq=False)
class LabeledBoxes(_PerBox):
    """Boxes of one image, or of several concatenated, in one label space: from people, detectors or a transfer.

    Attributes:
        boxes_xyxy: (N, 4) float32, absolute pixels of the original image.
        labels: (N,) int64 class indices 0..K-1 of `space`; there is no background index here.
        space: the label space of `labels`.
        scores: (N,) float32 in [0, 1]; 1 for ground truth.
        class_scores: (N, K) float32 in [0, 1], the full score vector of each box, or None.
        weights: (N,) float32 in [0, 1], weight of the box in a loss; 0 is don't-care (crowd boxes, doubtful boxes).
        annotation_ids: (N,) int64 ids in the file that the boxes came from; -1 for none.

    Raises:
        ValueError: if a field has another shape or dtype, is not finite, or is out of its range.
    """

    boxes_xyxy: Tensor
    labels: Tensor
    space: LabelSpace
    scores: Tensor = None  # type: ignore[assignment]
    class_scores: Tensor | None = None
    weights: Tensor = None  # type: ignore[assignment]
    annotation_ids: Tensor = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        n, device = len(self.boxes_xyxy), self.boxes_xyxy.device
        for name, value in (("scores", 1.0), ("weights", 1.0), ("annotation_ids", -1)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, torch.full((n,), value, device=device))
        _check_boxes(self.boxes_xyxy)
        _check(self.labels, "labels", (n,), torch.int64)
        _check(self.annotation_ids, "annotation_ids", (n,), torch.int64)
        ranged: list[tuple[str, Tensor, tuple[int, ...]]] = [("scores", self.scores, (n,)), ("weights", self.weights, (n,))]
        if self.class_scores is not None:
            ranged.append(("class_scores", self.class_scores, (n, len(self.space))))
        for name, tensor, shape in ranged:
            _check(tensor, name, shape, torch.float32)
            values = _quick(tensor)
            if n and (values.min() < 0 or values.max() > 1):
                raise ValueError(f"{name} must lie in [0, 1]")
        labels = _quick(self.labels)
        if n and (labels.min() < 0 or labels.max() >= len(self.space)):
            raise ValueError(f"labels must be 0..{len(self.space) - 1}, the classes of {self.space.name}")

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    @classmethod
    def empty(cls, space: LabelSpace) -> LabeledBoxes:
        """No boxes, in `space`, with empty class scores."""
        return cls(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), space, class_scores=torch.zeros(0, len(space)))


@dataclass(frozen=True, eq=False)
class Proposals(_PerBox):
    """Privileged proposals of one image: boxes of every label space, with class scores over the joint label space.

    Attributes:
        boxes_xyxy: (M, 4) float32, absolute pixels of the original image.
        class_scores: (M, K) float32 over the joint label space; one-hot for ground truth, the upstream detector's score
            vector at its space's offset for pseudo-labels, zero for background proposals.
        confidence: (M,) float32 in [0, 1]; 1 for ground truth, the largest class score for pseudo-labels.
        origin: (M,) int64 values of `Origin`.
        space_index: (M,) int64 position of the box's space in the joint label space; -1 for background proposals.
        annotation_ids: (M,) int64 ids in the file that the boxes came from; -1 for none.
        labels: (M,) int64 classes of the boxes in their own spaces, for which they were drawn; -1 for background proposals. A
            detector may draw two boxes of one region, for two classes, with the same score vector.

    Raises:
        ValueError: if a field has another shape or dtype, or is not finite.

    Source: Label-Aligned Transfer, section 3.2 (Privileged Proposal Generator).
    """

    boxes_xyxy: Tensor
    class_scores: Tensor
    confidence: Tensor
    origin: Tensor
    space_index: Tensor
    annotation_ids: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        m = len(self.boxes_xyxy)
        _check_boxes(self.boxes_xyxy)
        _check(self.class_scores, "class_scores", (m, self.class_scores.shape[-1]), torch.float32)
        _check(self.confidence, "confidence", (m,), torch.float32)
        for name in ("origin", "space_index", "annotation_ids", "labels"):
            _check(getattr(self, name), name, (m,), torch.int64)

    def __len__(self) -> int:
        return len(self.boxes_xyxy)
