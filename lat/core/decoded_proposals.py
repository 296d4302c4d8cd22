"""The label-transfer model's output for proposals, before it becomes labels.

Shape letters: B images, M proposals over all images, K_t classes of the target's label space, G human boxes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor

from lat.core.boxes import aligned_iou, rows_of_one_group
from lat.core.structures import Proposals

SUPPORT_IOU = 0.5  # a proposal that overlaps a human box this much belongs to the same object


@dataclass(frozen=True, eq=False)
class DecodedProposals:
    """The label-transfer model's output for the proposals of B images, in a target's label space.

    Attributes:
        proposals: the M proposals of all images, image after image.
        images: (M,) int64 image index of each proposal, ascending.
        sizes_hw: (B, 2) int64 height and width of each image in pixels.
        source_labels: (M,) int64 classes of the human boxes in the source's label space; -1 for other proposals.
        class_scores: (M, K_t + 1) float32, the model's; each row sums to 1, background last.
        detector_scores: (M, K_t + 1) float32, the scores of the target's upstream detector for its own detections, in the same
            layout; zeros for all other proposals.
        boxes_xyxy: (M, K_t, 4) float32, the box that the model predicts for each proposal and class.
    """

    proposals: Proposals
    images: Tensor
    sizes_hw: Tensor
    source_labels: Tensor
    class_scores: Tensor
    detector_scores: Tensor
    boxes_xyxy: Tensor

    def __len__(self) -> int:
        return len(self.sizes_hw)

    def to(self, device: torch.device | str) -> DecodedProposals:
        """The same on another device."""
        return DecodedProposals(*(getattr(self, one.name).to(device) for one in fields(self)))

    def counts(self, rows: Tensor) -> list[int]:
        """Number of `rows` (N,) int64 that belong to each image."""
        return torch.bincount(self.images[rows], minlength=len(self)).tolist()

    @property
    def human_rows(self) -> Tensor:
        """(G,) int64 rows of the human boxes."""
        return (self.source_labels >= 0).nonzero().flatten()

    @cached_property
    def is_detection(self) -> Tensor:
        """(M,) bool, True for detections of the target's detector."""
        return self.detector_scores.sum(dim=1) > 0

    @property
    def detection_rows(self) -> Tensor:
        """(D,) int64 their rows."""
        return self.is_detection.nonzero().flatten()

    @cached_property
    def support(self) -> Tensor:
        """(M,) int64 row of the human box that each proposal overlaps, its own row for a human box; -1 for none."""
        human, boxes = self.human_rows, self.proposals.boxes_xyxy
        rows, places = rows_of_one_group(self.images, self.images[human])
        iou = aligned_iou(boxes[rows], boxes[human[places]])
        best = boxes.new_full((len(boxes),), SUPPORT_IOU).scatter_reduce(0, rows, iou, "amax")
        is_best = iou >= best[rows]
        none = len(boxes)  # more than any row
        support = human.new_full((len(boxes),), none).scatter_reduce(0, rows[is_best], human[places[is_best]], "amin")
        return torch.where(support < none, support, -1)


Decoded = dict[str, DecodedProposals]
"""Decoded proposals of one batch of images, by target."""
