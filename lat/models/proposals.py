"""Privileged Proposal Generator (PPG): ground truth and pseudo-labels of all spaces instead of a region proposal network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from lat.core.boxes import move_sides
from lat.core.errors import InputError
from lat.core.label_space import JointLabelSpace
from lat.core.origin import Origin
from lat.core.structures import LabeledBoxes, Proposals


@dataclass(frozen=True)
class ProposalSettings:
    """How training proposals are made from ground truth and pseudo-labels; nothing of it acts at transfer."""

    jitter_probability: float = 0.5  # share of ground-truth boxes that are moved
    jitter_scale: float = 0.1  # largest move of a side, as a share of the box's width or height
    drop_probability: float = 0.05  # share of ground-truth boxes that are left out
    hide_ground_truth: float = 0.0  # share of images whose ground-truth boxes are all left out
    hide_class_vectors: float = 0.5  # share of images whose ground-truth boxes lose their class vector
    background_proposals: int = 8  # random boxes an image that teach what background looks like

    def __post_init__(self) -> None:
        for name in ("jitter_probability", "drop_probability", "hide_ground_truth", "hide_class_vectors"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"lat.{name}", f"is {getattr(self, name)}", "choose a share between 0 and 1")
        if not 0.0 <= self.jitter_scale < 0.5:
            raise InputError("lat.jitter_scale", f"is {self.jitter_scale}", "choose a share of at least 0 and below 0.5")
        if self.background_proposals < 0:
            raise InputError("lat.background_proposals", f"is {self.background_proposals}", "choose 0 or more")


class PrivilegedProposalGenerator:
    """Builds the proposals of an image of dataset n: its ground truth and its pseudo-labels in the other spaces.

    Source: Label-Aligned Transfer, section 3.2 and appendix A.2.2 (jitter 0.5, removal 0.05).
    """

    def __init__(self, joint: JointLabelSpace, settings: ProposalSettings) -> None:
        self.joint = joint
        self.settings = settings

    def propose(self, ground_truth: LabeledBoxes, pseudo_labels: Sequence[LabeledBoxes]) -> Proposals:
        """All proposals of an image, unchanged, as transfer uses them. Crowd and don't-care boxes (weight 0) are left out."""
        parts = [self._from_ground_truth(_counted(ground_truth))]
        parts += [self._from_pseudo_labels(_counted(boxes)) for boxes in pseudo_labels]
        return Proposals.joined(parts)

    def propose_for_training(
        self,
        ground_truth: LabeledBoxes,
        pseudo_labels: Sequence[LabeledBoxes],
        size_hw: tuple[int, int],
        generator: torch.Generator,
    ) -> Proposals:
        """Proposals with ground truth jittered, thinned and sometimes hidden, and with random background boxes added.

        Args:
            ground_truth: boxes of the image's own space.
            pseudo_labels: one entry for every other space that labels the image's dataset.
            size_hw: height and width of the image in pixels; moved boxes are clipped to it.
            generator: source of all randomness.
        """
        settings = self.settings
        ground_truth = _counted(ground_truth)
        keep = torch.rand(len(ground_truth), generator=generator) >= settings.drop_probability
        if torch.rand((), generator=generator) < settings.hide_ground_truth:
            keep[:] = False
        own = self._from_ground_truth(ground_truth[keep])
        own = replace(own, boxes_xyxy=self._jitter(own.boxes_xyxy, size_hw, generator))
        if torch.rand((), generator=generator) < settings.hide_class_vectors:
            own = replace(own, class_scores=torch.zeros_like(own.class_scores))
        others = [self._from_pseudo_labels(_counted(boxes)) for boxes in pseudo_labels]
        return Proposals.joined([own, *others, self._background(size_hw, generator)])

    def _from_ground_truth(self, boxes: LabeledBoxes) -> Proposals:
        one_hot = torch.zeros(len(boxes), len(self.joint))
        one_hot[torch.arange(len(boxes)), boxes.labels + self.joint.offset(boxes.space.name)] = 1.0
        return self._proposals(boxes, one_hot, torch.ones(len(boxes)), Origin.GROUND_TRUTH)

    def _from_pseudo_labels(self, boxes: LabeledBoxes) -> Proposals:
        class_scores = torch.zeros(len(boxes), len(self.joint))
        own_slice = self.joint.slice(boxes.space.name)
        if boxes.class_scores is None:  # an outside label set: only the label's score is known
            class_scores[torch.arange(len(boxes)), boxes.labels + own_slice.start] = boxes.scores
        else:
            class_scores[:, own_slice] = boxes.class_scores
        return self._proposals(boxes, class_scores, class_scores.amax(dim=1), Origin.PSEUDO_LABEL)

    def _proposals(self, boxes: LabeledBoxes, class_scores: Tensor, confidence: Tensor, origin: Origin) -> Proposals:
        return Proposals(
            boxes_xyxy=boxes.boxes_xyxy,
            class_scores=class_scores,
            confidence=confidence,
            origin=torch.full((len(boxes),), int(origin)),
            space_index=torch.full((len(boxes),), self.joint.index(boxes.space.name)),
            annotation_ids=boxes.annotation_ids,
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
        )


def _counted(boxes: LabeledBoxes) -> LabeledBoxes:
    """The boxes without crowd and don't-care boxes."""
    counts = boxes.weights > 0
    return boxes if counts.all() else boxes[counts]
