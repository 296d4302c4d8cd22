"""Class shares learnt from the model's scores of all human boxes of a source.

Shape letters: N human boxes, K_s and K_t classes of the source's and of the target's label space, "none" last.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lat.labelling.class_prior import SMALLEST_SHARE, common_classes, share_ratio, weighed
from lat.labelling.class_shares import ClassShares, Evidence, counted

COUNTED_BOXES = 5.0  # weight, in boxes, of the counted shares relative to the scores; of equal shares in `shares_of_scores`
ITERATIONS = 5  # of expectation maximisation; few, since each makes the shares more extreme


def learn_from_scores(evidence: Evidence, class_scores: Tensor, source_labels: Tensor) -> ClassShares:
    """The shares that make the scores of all human boxes most likely, by expectation maximisation.

    The model learnt its scores under the class shares of the source's detector on images of the target, including its
    confusions: if `bus` and `truck` look alike, each becomes partly the other. Human boxes correct this: the clear ones decide
    the doubtful ones. Rare classes and "none" keep their counted shares; so do all classes if nothing was counted.

    Args:
        evidence: of the source and the target; only counts on the target's images are used.
        class_scores: (N, K_t + 1) of the model for human boxes of the source.
        source_labels: (N,) int64 classes of these boxes.

    Source: adjusting a classifier to new prior probabilities (Saerens, Latinne and Decaestecker 2002).
    """
    old = new = counted(evidence).shares
    is_common, boxes = common_classes(old), torch.bincount(source_labels, minlength=len(old))[:, None]
    for _ in range(ITERATIONS if evidence.counts_on_target.any() else 0):
        scores = weighed(class_scores, share_ratio(new, old, is_common)[source_labels])
        shares = (torch.zeros_like(old).index_add_(0, source_labels, scores) + COUNTED_BOXES * old) / (boxes + COUNTED_BOXES)
        before, found = ((part * is_common).sum(dim=1, keepdim=True) for part in (old, shares))
        new = torch.where(is_common, shares * before / found.clamp(min=SMALLEST_SHARE), old)
    return ClassShares(evidence.source, evidence.target, new, "learnt")


def shares_of_scores(evidence: Evidence, class_scores: Tensor, source_labels: Tensor) -> ClassShares:
    """The mean scores of the human boxes of each class: what they are if the model is right; equal shares without boxes.

    Args:
        evidence: of the source and the target; no part of it is read.
        class_scores: (N, K_t + 1) of the model for human boxes of the source.
        source_labels: (N,) int64 classes of these boxes.
    """
    boxes = torch.bincount(source_labels, minlength=len(evidence.source))[:, None]
    sums = torch.zeros(len(boxes), class_scores.shape[1]).index_add_(0, source_labels, class_scores)
    return ClassShares(
        evidence.source, evidence.target, (sums + COUNTED_BOXES / sums.shape[1]) / (boxes + COUNTED_BOXES), "scored"
    )
