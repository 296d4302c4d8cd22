"""Detections of a batch of images that stay on the device that found them, until one copy hands them out.

Shape letters: B images, N places for detections of an image, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lat.core.boxes import clip_to_images
from lat.core.copies import numbers_on, to_device, to_host
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes


@dataclass(frozen=True, eq=False)
class Detected:
    """Detections of B images on any device, best first, in as many places for each, in pixels of the original images.

    Attributes:
        boxes_xyxy: (B, N, 4) float32.
        labels: (B, N) int64 in 0..K-1.
        scores: (B, N) float32 in [0, 1].
        class_scores: (B, N, K) float32 in [0, 1].
        is_there: (B, N) bool, False for places that are left, which come last and mean nothing.
        is_settled: () bool. False if a chain of suppressions was so long that some of this is wrong.
        space: the label space of `labels`.
    """

    boxes_xyxy: Tensor
    labels: Tensor
    scores: Tensor
    class_scores: Tensor
    is_there: Tensor
    is_settled: Tensor
    space: LabelSpace

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    @classmethod
    def of_boxes(cls, boxes: Sequence[LabeledBoxes], device: torch.device) -> Detected:
        """Detections with class scores, of at least one image, from the CPU."""
        columns: list[tuple[Tensor, ...]] = []
        for each in boxes:
            assert each.class_scores is not None, "a detector's boxes have class scores"
            is_there = torch.ones(len(each), dtype=torch.bool)
            columns.append((each.boxes_xyxy, each.labels, each.scores, each.class_scores, is_there))
        padded = (to_device(pad_sequence(list(column), batch_first=True), device) for column in zip(*columns, strict=True))
        xyxy, labels, scores, class_scores, there = padded
        return cls(xyxy, labels, scores, class_scores, there, there.new_ones(()), boxes[0].space)

    @classmethod
    def joined(cls, parts: Sequence[Detected], order: Sequence[int]) -> Detected:
        """Detections of the images of several parts, at least one.

        Args:
            parts: of one label space.
            order: for each image of the result its place among those of all parts.
        """
        most = max(part.boxes_xyxy.shape[1] for part in parts)
        rows = numbers_on(parts[0].labels.device, list(order), torch.int64)
        columns = zip(*(part._columns(most) for part in parts), strict=True)
        is_settled = torch.stack([part.is_settled for part in parts]).all()
        xyxy, labels, scores, class_scores, there = (torch.cat(column)[rows] for column in columns)
        return cls(xyxy, labels, scores, class_scores, there, is_settled, parts[0].space)

    def _columns(self, most: int) -> list[Tensor]:
        """The per-box columns with so many places for each image."""
        left = most - self.boxes_xyxy.shape[1]
        rows = (self.boxes_xyxy, self.labels, self.scores, self.class_scores, self.is_there)
        return [F.pad(one, (0, 0, 0, left)) if one.dim() == 3 else F.pad(one, (0, left)) for one in rows]

    def chosen(self, rows: Tensor, is_there: Tensor) -> Detected:
        """Other rows (B, M) int64 of each image, of which those count that `is_there` (B, M) bool says."""
        wide = rows[..., None]
        return replace(
            self,
            boxes_xyxy=self.boxes_xyxy.gather(1, wide.expand(-1, -1, 4)),
            labels=self.labels.gather(1, rows),
            scores=self.scores.gather(1, rows),
            class_scores=self.class_scores.gather(1, wide.expand(-1, -1, self.class_scores.shape[2])),
            is_there=is_there,
        )

    def mirrored(self, widths: Sequence[int]) -> Detected:
        """The same on mirror images, given the widths of the images in pixels."""
        width = numbers_on(self.labels.device, list(widths))[:, None]
        x1, y1, x2, y2 = self.boxes_xyxy.unbind(2)
        return replace(self, boxes_xyxy=torch.stack([width - x2, y1, width - x1, y2], dim=2))

    def handed_out(self) -> list[LabeledBoxes] | None:
        """The detections of each image on the CPU, for which the program waits once; None if they are not settled."""
        (found,) = hand_out([self])
        return found


def hand_out(several: Sequence[Detected]) -> list[list[LabeledBoxes] | None]:
    """The detections of the images of several batches on the CPU, in one copy of all; None for what is not settled."""
    numbers = [torch.cat([one.is_there.sum(dim=1), one.is_settled.long()[None]]) for one in several]
    columns = [
        (one.boxes_xyxy, one.labels, one.scores, one.class_scores, of_one) for one, of_one in zip(several, numbers, strict=True)
    ]
    copied = iter(to_host([column for each in columns for column in each]))
    return [_boxes_of([next(copied) for _ in each], one.space) for each, one in zip(columns, several, strict=True)]


def _boxes_of(columns: Sequence[Tensor], space: LabelSpace) -> list[LabeledBoxes] | None:
    *columns, numbers = columns
    *counts, is_settled = numbers.tolist()
    if not is_settled:
        return None
    found = []
    for *rows, count in zip(*columns, counts, strict=True):  # copies: pickling a view would pickle all that came in one copy
        boxes, labels, scores, class_scores = (one[:count].clone() for one in rows)
        found.append(LabeledBoxes(boxes, labels, space, scores=scores, class_scores=class_scores))
    return found


def in_original_pixels(boxes_xyxy: Tensor, sizes_hw: Sequence[tuple[tuple[int, int], tuple[int, int]]]) -> Tensor:
    """Boxes (B, N, 4) in pixels of resized images in those of the originals, and inside them.

    Args:
        boxes_xyxy: (B, N, 4) float32.
        sizes_hw: for each image height and width of the resized and of the original one.
    """
    ratios = [(width / own_width, height / own_height) for (height, width), (own_height, own_width) in sizes_hw]
    scale = numbers_on(boxes_xyxy.device, [(x, y, x, y) for x, y in ratios])
    originals = numbers_on(boxes_xyxy.device, [original for _, original in sizes_hw])
    return clip_to_images(boxes_xyxy / scale[:, None], originals[:, None])
