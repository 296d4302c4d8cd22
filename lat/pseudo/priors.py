"""Relation priors: what a source class can be in the target's label space, learnt from all its boxes, applied to each.

One box's class is noisy, the relation of two protocols is not. Shape letters: N boxes, K_s and K_t classes of the source's
and of the target's label space; background (no box of the target) is last, at index K_t.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torchvision.ops import box_iou

from lat.structures import LabeledBoxes

LEAST_SHARE = 0.1  # a target class that is rarer than this beside the commonest one is not judged
PRIOR_BOXES = 5.0  # weight, in boxes, of what the detectors say before the source's own boxes are asked
ITERATIONS = 5  # of expectation maximisation; few, since it sharpens with each


@dataclass(frozen=True, eq=False)
class RelationPrior:
    """(K_s, K_t + 1) float32 factors, by which the class scores of a box of a source class are multiplied; 1 says nothing."""

    factors: Tensor

    @classmethod
    def flat(cls, num_source: int, num_target: int) -> Self:
        """A prior that says nothing."""
        return cls(torch.ones(num_source, num_target + 1))

    def applied(self, class_scores: Tensor, source_labels: Tensor) -> Tensor:
        """Class scores (N, K_t + 1) of boxes of the source's classes (N,), each row summing to 1 again."""
        scores = class_scores * self.factors[source_labels]
        return scores / scores.sum(dim=1, keepdim=True).clamp(min=1e-9)


def count_relations(detected: LabeledBoxes, ground_truth: LabeledBoxes, iou: float = 0.5) -> Tensor:
    """(K_s, K_t + 1) counts on one image of the target: which of its boxes lies where the source's detector sees a class.

    Args:
        detected: boxes of the source's detector.
        ground_truth: the target's own boxes.
        iou: least overlap; a detection without such a partner counts as background.
    """
    num_target = len(ground_truth.space)
    partner = torch.full((len(detected),), num_target)
    if len(detected) and len(ground_truth):
        best_iou, best = box_iou(detected.boxes_xyxy, ground_truth.boxes_xyxy).max(dim=1)
        partner = torch.where(best_iou >= iou, ground_truth.labels[best], num_target)
    counts = torch.zeros(len(detected.space), num_target + 1)
    return counts.index_put_((detected.labels, partner), torch.ones(len(detected)), accumulate=True)


def fit_relation_prior(counts: Tensor, class_scores: Tensor, source_labels: Tensor) -> RelationPrior:
    """How the source's own boxes differ from what its detector took for them, class by class.

    The model's class scores stand on relations as the target's images show them through the source's detector, confusions
    included: where `bus` and `truck` look alike, both become either. The source's own boxes know better. With the shares of
    the target's classes under each source class as unknowns, expectation maximisation finds those under which the scores of
    all its boxes are likeliest; clear boxes then decide for doubtful ones. It says what a class can be, and leaves how often
    to the scores: each is multiplied by new share / old share. Background is not judged.

    Args:
        counts: (K_s, K_t + 1) from `count_relations`, summed over images.
        class_scores: (N, K_t + 1) of the model for the source's own boxes.
        source_labels: (N,) their classes.

    Source: adjusting a classifier to new prior probabilities (Saerens, Latinne and Decaestecker 2002).
    """
    overall = counts.sum(dim=0) / counts.sum().clamp(min=1.0)
    old = (counts + overall) / (counts.sum(dim=1, keepdim=True) + 1.0).clamp(min=1.0)
    judged = old >= LEAST_SHARE * old.amax(dim=1, keepdim=True)
    judged[:, -1] = False
    boxes = torch.bincount(source_labels, minlength=len(old))[:, None]
    new = old.clone()
    for _ in range(ITERATIONS):
        scores = RelationPrior(_ratio(new, old, judged)).applied(class_scores, source_labels)
        shares = (torch.zeros_like(old).index_add_(0, source_labels, scores) + PRIOR_BOXES * old) / (boxes + PRIOR_BOXES)
        known, found = ((part * judged).sum(dim=1, keepdim=True) for part in (old, shares))
        new = torch.where(judged, shares * known / found.clamp(min=1e-6), old)
    return RelationPrior(_ratio(new, old, judged))


def _ratio(new: Tensor, old: Tensor, judged: Tensor) -> Tensor:
    return torch.where(judged, new / old.clamp(min=1e-6), torch.ones(()))
