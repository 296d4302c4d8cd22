"""Seeded images of three label spaces, as the model takes them and as the slow reference does."""

from __future__ import annotations

import reference
import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from lat.core.label_space import JointLabelSpace, LabelSpace
from lat.core.origin import Origin
from lat.core.structures import LabeledBoxes, Proposals
from lat.models.label_transfer_model import TransferInput

SPACES = (
    LabelSpace.from_names("city", ("car", "person", "rider")),
    LabelSpace.from_names("nu", ("car", "adult")),
    LabelSpace.from_names("way", ("vehicle", "pedestrian", "cyclist", "sign")),
)
JOINT = JointLabelSpace(SPACES)
CLASS_COUNTS = [3, 2, 4]
SIZE_HW = (64, 96)
ORIGINS = {Origin.GROUND_TRUTH: "ground_truth", Origin.PSEUDO_LABEL: "pseudo_label", Origin.BACKGROUND: "background"}


def random_boxes(n: int, generator: torch.Generator) -> Tensor:
    """(n, 4) boxes of 8 to 40 pixels inside an image of `SIZE_HW`."""
    sides = 8 + 32 * torch.rand(n, 2, generator=generator)
    corner = (torch.tensor([SIZE_HW[1], SIZE_HW[0]]) - sides) * torch.rand(n, 2, generator=generator)
    return torch.cat([corner, corner + sides], dim=1)


def draw_ground_truth(space: int, n: int, generator: torch.Generator) -> LabeledBoxes:
    labels = torch.randint(CLASS_COUNTS[space], (n,), generator=generator)
    return LabeledBoxes(random_boxes(n, generator), labels, SPACES[space], annotation_ids=torch.arange(n) + 1)


def draw_pseudo_labels(space: int, truth: LabeledBoxes, n: int, generator: torch.Generator) -> LabeledBoxes:
    """A slightly moved copy of each true box, and `n` boxes anywhere."""
    moved = truth.boxes_xyxy + 3 * torch.rand(len(truth), 4, generator=generator)
    boxes = clip_boxes_to_image(torch.cat([moved, random_boxes(n, generator)]), SIZE_HW)
    scores = torch.softmax(2 * torch.randn(len(boxes), CLASS_COUNTS[space] + 1, generator=generator), dim=1)[:, :-1]
    return LabeledBoxes(boxes, scores.argmax(1), SPACES[space], scores=scores.amax(1), class_scores=scores)


def draw_scene(space: int, truth: int, others: int, seed: int) -> tuple[LabeledBoxes, list[LabeledBoxes]]:
    """Ground truth of one space, and pseudo-labels of each other space."""
    generator = torch.Generator().manual_seed(seed)
    ground_truth = draw_ground_truth(space, truth, generator)
    pseudo = [draw_pseudo_labels(other, ground_truth, others, generator) for other in range(3) if other != space]
    return ground_truth, pseudo


def rows_of(boxes: LabeledBoxes) -> list[reference.Row]:
    """Labelled boxes as the reference takes them; boxes with class scores are pseudo-labels."""
    space = JOINT.index(boxes.space.name)
    scores = [None] * len(boxes) if boxes.class_scores is None else reference.numbers(boxes.class_scores)
    return [
        reference.Row(box, label, space, score, weight, annotation_id)
        for box, label, score, weight, annotation_id in zip(
            reference.numbers(boxes.boxes_xyxy),
            boxes.labels.tolist(),
            scores,
            reference.numbers(boxes.weights),
            boxes.annotation_ids.tolist(),
            strict=True,
        )
    ]


def reference_proposals(proposals: Proposals) -> list[reference.Proposal]:
    """Proposals as the reference takes them."""
    columns = (proposals.boxes_xyxy, proposals.class_scores, proposals.confidence)
    return [
        reference.Proposal(box, scores, confidence, ORIGINS[Origin(origin)], space, annotation_id)
        for box, scores, confidence, origin, space, annotation_id in zip(
            *(reference.numbers(column) for column in columns),
            proposals.origin.tolist(),
            proposals.space_index.tolist(),
            proposals.annotation_ids.tolist(),
            strict=True,
        )
    ]


def transfer_input(proposals: Proposals, seed: int, map_hw: tuple[int, int] = (16, 12)) -> TransferInput:
    """Proposals on a random map of three channels, with a scale of its own on each axis."""
    features = torch.rand(3, *map_hw, generator=torch.Generator().manual_seed(seed))
    return TransferInput(features, (map_hw[0] / SIZE_HW[0], map_hw[1] / SIZE_HW[1]), SIZE_HW, proposals)


def randomise(module: nn.Module, seed: int, scale: float) -> None:
    """Weights large enough for every part to matter: a fresh predictor alone is almost zero."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=scale, generator=generator)
