"""Box voting: regions that a detector draws around one object agree on its box.

Suppression keeps the box of the surest region, which errs as one region does. The mean of all boxes of its class that nearly
coincide with it errs less. Shape letters: C candidates of a class score each, N kept ones, P pairs of candidates.

Source: Gidaris and Komodakis, Object detection via a multi-region and semantic segmentation-aware CNN model (2015), section 4.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou


def voted_boxes(kept: Tensor, boxes_xyxy: Tensor, labels: Tensor, scores: Tensor, voting_iou: float) -> Tensor:
    """The boxes (N, 4) of kept candidates of one image, each the mean over candidates of its class, weighted by score.

    Args:
        kept: (N,) int64 rows of candidates.
        boxes_xyxy: (C, 4) float32.
        labels: (C,) int64.
        scores: (C,) float32, above 0.
        voting_iou: overlap with the kept box from which a candidate votes; its own always does. 1 leaves boxes as they are.
    """
    if voting_iou >= 1.0:
        return boxes_xyxy[kept]
    iou = box_iou(boxes_xyxy[kept], boxes_xyxy)
    votes = (iou >= voting_iou) & (labels[kept][:, None] == labels)
    votes[torch.arange(len(kept)), kept] = True
    of, voter = votes.nonzero().unbind(1)
    weights = scores[voter]
    total = weights.new_zeros(len(kept)).index_add_(0, of, weights)
    sums = boxes_xyxy.new_zeros(len(kept), 4).index_add_(0, of, weights[:, None] * boxes_xyxy[voter])
    return sums / total[:, None]


def voted_among_pairs(
    first: Tensor, second: Tensor, iou: Tensor, boxes_xyxy: Tensor, scores: Tensor, voting_iou: float
) -> Tensor:
    """`voted_boxes` (C, 4) of all candidates, kept or not, on their device, without waiting for it.

    Args:
        first: (P,) int64; with `second` all pairs of candidates of one image and class, each once.
        second: (P,) int64.
        iou: (P,) float32 of each pair.
        boxes_xyxy: (C, 4) float32.
        scores: (C,) float32; those of 0 do not vote.
        voting_iou: as of `voted_boxes`.
    """
    if voting_iou >= 1.0:
        return boxes_xyxy
    votes = (iou >= voting_iou).to(scores.dtype)
    total, sums = scores.clone(), scores[:, None] * boxes_xyxy
    for of, voter in ((first, second), (second, first)):
        weights = votes * scores[voter]
        total.index_add_(0, of, weights)
        sums.index_add_(0, of, weights[:, None] * boxes_xyxy[voter])
    return sums / total.clamp(min=1e-12)[:, None]
