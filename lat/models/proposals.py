"""Privileged Proposal Generator (PPG): human boxes and pseudo-labels of all spaces instead of a region proposal network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from lat.core.boxes import move_sides
from lat.core.label_space import JointLabelSpace
from lat.core.origin import Origin
from lat.core.structures import LabeledBoxes, Proposals
from lat.data.tensors import boxes_of_all
from lat.labels.table import LabelTable
from lat.models.model_settings import ProposalSettings


class PrivilegedProposalGenerator:
    """Builds the proposals of an image of dataset n: its ground truth and its pseudo-labels in the other spaces.

    Source: Label-Aligned Transfer, section 3.2 and appendix A.2.2 (jitter 0.5, removal 0.05).
    """

    def __init__(self, joint: JointLabelSpace, settings: ProposalSettings) -> None:
        self.joint = joint
        self.settings = settings

    def propose(self, ground_truth: LabeledBoxes, pseudo_labels: Sequence[LabeledBoxes]) -> Proposals:
        """All proposals of an image, unchanged, as for transfer. Crowd and don't-care boxes (weight 0) are left out."""
        parts = [self._from_ground_truth(_counted(ground_truth))]
        parts += [self._from_pseudo_labels(_counted(boxes)) for boxes in pseudo_labels]
        return Proposals.joined(parts)

    def propose_for_images(
        self, ground_truth: tuple[LabeledBoxes, Tensor], pseudo_labels: Sequence[LabelTable], count: int
    ) -> list[Proposals]:
        """The proposals of each of a few images, as `propose` makes them, all at once: views, not copies.

        Args:
            ground_truth: human boxes that count, and the index (N,) int64 of the image of each, ascending.
            pseudo_labels: the labels of the images, a table per other space that labels the dataset.
            count: the number of images.
        """
        human, others = ground_truth, [counted_of_all(table) for table in pseudo_labels]
        parts = [self._from_ground_truth(human[0]), *(self._from_pseudo_labels(boxes) for boxes, _ in others)]
        image = torch.cat([images for _, images in (human, *others)])
        in_order = Proposals.joined(parts)[image.argsort(stable=True)]
        ends = image.bincount(minlength=count).cumsum(0).tolist()
        return [in_order[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def propose_for_training(
        self,
        ground_truth: LabeledBoxes,
        pseudo_labels: Sequence[LabeledBoxes],
        size_hw: tuple[int, int],
        generator: torch.Generator,
    ) -> Proposals:
        """Proposals with human boxes jittered, thinned and sometimes hidden, and with random background boxes added.

        Args:
            ground_truth: the image's human boxes.
            pseudo_labels: one entry per other space that labels the image's dataset.
            size_hw: height and width of the image in pixels; moved boxes are clipped to it.
            generator: source of all randomness.
        """
        settings = self.settings
        ground_truth = _counted(ground_truth)
        keep = torch.rand(len(ground_truth), generator=generator) >= settings.drop_probability
        if torch.rand((), generator=generator) < settings.hide_ground_truth:
            keep[:] = False
        human = self._from_ground_truth(ground_truth[keep])
        human = replace(human, boxes_xyxy=self._jitter(human.boxes_xyxy, size_hw, generator))
        if torch.rand((), generator=generator) < settings.hide_class_vectors:
            human = replace(human, class_scores=torch.zeros_like(human.class_scores))
        others = [self._from_pseudo_labels(_counted(boxes)) for boxes in pseudo_labels]
        return Proposals.joined([human, *others, self._background(size_hw, generator)])

    def _from_ground_truth(self, boxes: LabeledBoxes) -> Proposals:
        one_hot = torch.zeros(len(boxes), len(self.joint))
        one_hot[torch.arange(len(boxes)), boxes.labels + self.joint.offset(boxes.space.name)] = 1.0
        return self._proposals(boxes, one_hot, torch.ones(len(boxes)), Origin.GROUND_TRUTH)

    def _from_pseudo_labels(self, boxes: LabeledBoxes) -> Proposals:
        class_scores = torch.zeros(len(boxes), len(self.joint))
        columns = self.joint.slice(boxes.space.name)
        if boxes.class_scores is None:  # an outside label set, which has no other score than the label's
            class_scores[torch.arange(len(boxes)), boxes.labels + columns.start] = boxes.scores
        else:
            class_scores[:, columns] = boxes.class_scores
        return self._proposals(boxes, class_scores, class_scores.amax(dim=1), Origin.PSEUDO_LABEL)

    def _proposals(self, boxes: LabeledBoxes, class_scores: Tensor, confidence: Tensor, origin: Origin) -> Proposals:
        return Proposals(
            boxes_xyxy=boxes.boxes_xyxy,
            class_scores=class_scores,
            confidence=confidence,
            origin=torch.full((len(boxes),), int(origin)),
            space_index=torch.full((len(boxes),), self.joint.index(boxes.space.name)),
            annotation_ids=boxes.annotation_ids,
            labels=boxes.labels,
        )

    def _jitter(self, boxes_xyxy: Tensor, size_hw: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Move each side of randomly chosen boxes by up to `jitter_scale` of the width or height, clipped to the image."""
        chosen = torch.rand(len(boxes_xyxy), 1, generator=generator) < self.settings.jitter_probability
        shift = (torch.rand(len(boxes_xyxy), 4, generator=generator) * 2 - 1) * self.settings.jitter_scale
        return torch.where(chosen, clip_boxes_to_image(move_sides(boxes_xyxy, shift), size_hw), boxes_xyxy)

    def _background(self, size_hw: tuple[int, int], generator: torch.Generator) -> Proposals:
        """Random boxes of a tenth to a half of the image's sides, without class vector or confidence."""
        count = self.settings.background_proposals
        height, width = size_hw
        frame = torch.tensor([width, height], dtype=torch.float32)
        sides = frame * (0.1 + 0.4 * torch.rand(count, 2, generator=generator))
        corner = (frame - sides) * torch.rand(count, 2, generator=generator)
        return Proposals(
            boxes_xyxy=torch.cat([corner, corner + sides], dim=1),
            class_scores=torch.zeros(count, len(self.joint)),
            confidence=torch.zeros(count),
            origin=torch.full((count,), int(Origin.BACKGROUND)),
            space_index=torch.full((count,), -1),
            annotation_ids=torch.full((count,), -1),
            labels=torch.full((count,), -1),
        )


def counted_of_all(table: LabelTable) -> tuple[LabeledBoxes, Tensor]:
    """The boxes (N,) of all images of a table without crowd boxes, and the index (N,) int64 of the image of each."""
    boxes = boxes_of_all(table)
    counts = boxes.weights > 0
    return boxes[counts], torch.from_numpy(table.image_of_box)[counts]


def _counted(boxes: LabeledBoxes) -> LabeledBoxes:
    """The boxes without crowd and don't-care boxes."""
    counts = boxes.weights > 0
    return boxes if counts.all() else boxes[counts]
