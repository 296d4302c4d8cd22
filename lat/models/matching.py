"""Match the proposals of a padded batch to the ground-truth boxes that they should become.

Shape letters: B images, M proposals per image (padded), G ground-truth boxes per image (padded), K classes of the joint space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lat.core.boxes import lie_in_dont_care, pairwise_iou
from lat.core.label_space import JointLabelSpace
from lat.core.structures import LabeledBoxes


@dataclass(frozen=True, eq=False)
class MatchedTargets:
    """The training target of each padded proposal.

    Attributes:
        labels: (B, M) int64 in 0..K, background K.
        boxes_xyxy: (B, M, 4) float32; unused for background.
        weights: (B, M) float32; 0 for don't-care.
    """

    labels: Tensor
    boxes_xyxy: Tensor
    weights: Tensor


def match_proposals(
    boxes_xyxy: Tensor, ground_truth: Sequence[LabeledBoxes], joint: JointLabelSpace, match_iou: float
) -> MatchedTargets:
    """Match padded proposals (B, M, 4) to the ground truth of their images.

    A proposal becomes the ground-truth box of highest IoU if that is at least `match_iou`, and background otherwise. Boxes of
    weight 0 are not matched: a proposal that lies in one by half of its own area or more, and matches no other box, has weight 0.
    """
    truth_boxes = pad([truth.boxes_xyxy for truth in ground_truth])
    if truth_boxes.shape[1] == 0:
        return _all_background(boxes_xyxy, joint)
    truth_weights = pad([truth.weights for truth in ground_truth])
    truth_labels = pad([truth.labels + joint.offset(truth.space.name) for truth in ground_truth])
    iou = pairwise_iou(boxes_xyxy, truth_boxes) * (truth_weights > 0)[:, None, :]
    best_iou, best = iou.max(dim=2)
    is_matched = best_iou >= match_iou
    labels = torch.where(is_matched, truth_labels.gather(1, best), len(joint))
    weights = torch.where(is_matched, truth_weights.gather(1, best), 1.0)
    weights = torch.where(~is_matched & _lies_in_dont_care(boxes_xyxy, truth_boxes, ground_truth), 0.0, weights)
    return MatchedTargets(labels, truth_boxes.gather(1, best[..., None].expand(-1, -1, 4)), weights)


def pad(rows: Sequence[Tensor]) -> Tensor:
    """B tensors (M_i, ...) -> (B, M, ...) with M the largest M_i and zeros (False) after each."""
    return pad_sequence(list(rows), batch_first=True)


def _all_background(boxes_xyxy: Tensor, joint: JointLabelSpace) -> MatchedTargets:
    """The targets of proposals (B, M, 4) on images without any ground truth."""
    shape, device = boxes_xyxy.shape[:2], boxes_xyxy.device
    return MatchedTargets(torch.full(shape, len(joint), device=device), boxes_xyxy, torch.ones(shape, device=device))


def _lies_in_dont_care(boxes_xyxy: Tensor, truth_boxes: Tensor, ground_truth: Sequence[LabeledBoxes]) -> Tensor:
    """(B, M) bool: proposals (B, M, 4) that lie mostly in one of the boxes (B, G, 4) of weight 0."""
    is_dont_care = pad([truth.weights == 0 for truth in ground_truth])
    return lie_in_dont_care(boxes_xyxy, truth_boxes * is_dont_care[..., None])  # a box without area covers nothing
