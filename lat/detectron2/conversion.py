"""Convert our boxes to Detectron2 `Instances` and back; each column is a field, so that masks and indices apply to all."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.structures import Boxes, Instances

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes, Proposals

_PROPOSAL_COLUMNS = ("class_scores", "confidence", "origin", "space_index", "annotation_ids", "labels")


def instances_from_boxes(boxes: LabeledBoxes, size_hw: tuple[int, int]) -> Instances:
    """Labelled boxes of an image of `size_hw` as `Instances`.

    Returns:
        `gt_boxes`, `gt_classes` (N,), `gt_scores` (N,), `gt_class_scores` (N, K), `gt_weights` (N,), `gt_annotation_ids` (N,).
        Boxes without class scores get their score at their class.
    """
    class_scores = boxes.class_scores
    if class_scores is None:
        class_scores = F.one_hot(boxes.labels, len(boxes.space)) * boxes.scores[:, None]
    return Instances(
        size_hw,
        gt_boxes=Boxes(boxes.boxes_xyxy),
        gt_classes=boxes.labels,
        gt_scores=boxes.scores,
        gt_class_scores=class_scores,
        gt_weights=boxes.weights,
        gt_annotation_ids=boxes.annotation_ids,
    )


def boxes_from_instances(instances: Instances, space: LabelSpace) -> LabeledBoxes:
    """`Instances` with `gt_boxes` and `gt_classes` as boxes of `space`; other fields of `instances_from_boxes` may be missing.

    An image without `gt_boxes` has no boxes.
    """
    if not instances.has("gt_boxes"):
        return LabeledBoxes.empty(space)
    names = ("scores", "class_scores", "weights", "annotation_ids")
    columns = {name: instances.get(f"gt_{name}") for name in names if instances.has(f"gt_{name}")}
    return LabeledBoxes(instances.gt_boxes.tensor.float(), instances.gt_classes, space, **columns)


def instances_from_proposals(proposals: Proposals, size_hw: tuple[int, int]) -> Instances:
    """Proposals as `Instances`: `proposal_boxes`, and the other columns of `Proposals` under their own names."""
    columns = {name: getattr(proposals, name) for name in _PROPOSAL_COLUMNS}
    return Instances(size_hw, proposal_boxes=Boxes(proposals.boxes_xyxy), **columns)


def proposals_from_instances(instances: Instances) -> Proposals:
    """The inverse of `instances_from_proposals`."""
    return Proposals(instances.proposal_boxes.tensor, **{name: instances.get(name) for name in _PROPOSAL_COLUMNS})


def drop_outside(boxes: LabeledBoxes, size_hw: tuple[int, int]) -> LabeledBoxes:
    """Boxes clipped to the image; boxes without remaining area are dropped from all columns."""
    clipped = Boxes(boxes.boxes_xyxy.clone())
    clipped.clip(size_hw)
    inside = clipped.nonempty()
    kept = boxes[inside]
    return LabeledBoxes(
        clipped.tensor[inside], kept.labels, kept.space, kept.scores, kept.class_scores, kept.weights, kept.annotation_ids
    )


def detections(boxes: LabeledBoxes, rows: torch.Tensor, proposals: Proposals, size_hw: tuple[int, int]) -> Instances:
    """Transferred boxes as Detectron2 detections, each with the proposal that it came from.

    Returns:
        `pred_boxes`, `scores`, `pred_classes` in the target space, `class_scores` (N, K_t), and of the proposal `proposal_row`,
        `proposal_origin`, `proposal_space_index`, `proposal_annotation_id`, each (N,) int64.
    """
    source = proposals[rows]
    return Instances(
        size_hw,
        pred_boxes=Boxes(boxes.boxes_xyxy),
        scores=boxes.scores,
        pred_classes=boxes.labels,
        class_scores=boxes.class_scores,
        proposal_row=rows,
        proposal_origin=source.origin,
        proposal_space_index=source.space_index,
        proposal_annotation_id=source.annotation_ids,
    )
