"""Padded batches of boxes: which ground-truth box a proposal is to become.

Shape letters: B images, M proposals an image (padded), G ground-truth boxes an image (padded), K classes of the joint space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lat.core.boxes import covered_share, pairwise_iou
from lat.core.label_space import JointLabelSpace
from lat.core.structures import LabeledBoxes


@dataclass(frozen=True, eq=False)
class MatchedTargets:
    """What each padded proposal is to become: `labels` (B, M) in 0..K, `boxes_xyxy` (B, M, 4), `weights` (B, M)."""

    labels: Tensor
    boxes_xyxy: Tensor
    weights: Tensor


def match_proposals(
    boxes_xyxy: Tensor, ground_truth: Sequence[LabeledBoxes], joint: JointLabelSpace, match_iou: float
) -> MatchedTargets:
    """Match padded proposals (B, M, 4) to the ground truth of their images; see `LabelTransferModel.losses`."""
    truth_boxes = pad([truth.boxes_xyxy for truth in ground_truth])
    batch, count = boxes_xyxy.shape[:2]
    if truth_boxes.shape[1] == 0:
        labels = torch.full((batch, count), len(joint), device=boxes_xyxy.device)
        return MatchedTargets(labels, boxes_xyxy, torch.ones(batch, count, device=boxes_xyxy.device))
    truth_weights = pad([truth.weights for truth in ground_truth])
    truth_labels = pad([truth.labels + joint.offset(truth.space.name) for truth in ground_truth])
    iou = pairwise_iou(boxes_xyxy, truth_boxes) * (truth_weights > 0)[:, None, :]
    best_iou, best = iou.max(dim=2)
    is_matched = best_iou >= match_iou
    labels = torch.where(is_matched, truth_labels.gather(1, best), len(joint))
    weights = torch.where(is_matched, truth_weights.gather(1, best), 1.0)
    is_dont_care = pad([truth.weights == 0 for truth in ground_truth])
    covered = covered_share(boxes_xyxy, truth_boxes) * is_dont_care[:, None, :]
    weights = torch.where(~is_matched & (covered.amax(dim=2) >= 0.5), 0.0, weights)
    return MatchedTargets(labels, truth_boxes.gather(1, best[..., None].expand(-1, -1, 4)), weights)


def pad(rows: Sequence[Tensor]) -> Tensor:
    """B tensors (M_i, ...) -> (B, M, ...) with M the largest M_i and zeros (False) behind each."""
    return pad_sequence(list(rows), batch_first=True)
