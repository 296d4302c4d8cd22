"""Relation priors: what a source class can be in the target's label space, known of all its boxes, applied to each.

One box's class is noisy, the relation of two protocols is not. Shape letters: N boxes, M proposals of an image, K_s and K_t
classes of the source's and of the target's label space; background (no box of the target) is last, at index K_t.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from lat.labels.overlaps import overlaps
from lat.labels.table import LabelTable

LEAST_SHARE = 0.1  # a target class that is rarer than this beside the commonest one is not judged
PRIOR_BOXES = 5.0  # weight, in boxes, of what the detectors say before the source's own boxes are asked
SMALLEST = 1e-6  # share that stands for 0 where something is divided by it
ITERATIONS = 5  # of expectation maximisation; few, since it sharpens with each


@dataclass(frozen=True, eq=False)
class RelationPrior:
    """What the class of a source's box says about the labels that lie on it.

    Attributes:
        factors: (K_s, K_t + 1) float32, by which class scores on a box of a source class are multiplied; 1 says nothing, and 0
            forbids.
        shares: (K_s, K_t + 1) float32, how much of a source class is each class of the target.
    """

    factors: Tensor
    shares: Tensor

    @classmethod
    def of_shares(cls, new: Tensor, old: Tensor, floor: float) -> Self:
        """The prior under which shares are `new`, for scores that were learnt under shares `old`, (K_s, K_t + 1) each.

        By Bayes each score is multiplied by new share / old share; both are taken to be at least `floor`. Background, which
        the box itself speaks against, is not judged.

        Source: Saerens, Latinne and Decaestecker (2002), equation 2.4.
        """
        least = max(floor, SMALLEST)
        factors = new.clamp(min=least) / old.clamp(min=least)
        factors[:, -1] = 1.0
        return cls(factors, new)

    @classmethod
    def learnt(cls, new: Tensor, old: Tensor) -> Self:
        """The prior under which shares are `new`, for scores that were learnt under shares `old`, (K_s, K_t + 1) each.

        The same, but classes that are rare under `old` beside the commonest one are not judged either, instead of by a floor.
        """
        return cls(_ratio(new, old, _judged(old)), new)

    def vetoing(self, least_share: float) -> Self:
        """The same, but target classes of a share below `least_share` are impossible; background never is."""
        forbidden = self.shares < least_share
        forbidden[:, -1] = False
        return replace(self, factors=torch.where(forbidden, 0.0, self.factors))

    def applied(self, class_scores: Tensor, source_labels: Tensor) -> Tensor:
        """Class scores (N, K_t + 1) of boxes of the source's classes (N,), each row summing to 1 again.

        A box whose whole score is forbidden is background.
        """
        return _weighed(class_scores, self.factors[source_labels])

    def source_classes(self, class_scores: Tensor, target_labels: Tensor) -> Tensor:
        """The source class (N,) int64 that a person would give to objects whose class in the target is known.

        Whoever labels by the source's protocol sees what the object is. The scores (N, K_s) of the source's detector decide
        among the classes that hold much of the target's class (N,) int64.
        """
        return (class_scores * self.shares[:, target_labels].T.clamp(min=SMALLEST)).argmax(dim=1)

    def supported(self, scores: Tensor, support: Tensor, source_labels: Tensor, threshold: float, least_share: float) -> Tensor:
        """The candidates below the score threshold that the source's boxes vouch for, (M, K_t) bool.

        A box of the source on which no proposal reaches the threshold in any class keeps the best of its candidates, of the
        proposals that lie on it, in a class of a share of `least_share` or more; one candidate at most, with a score above 0.

        Args:
            scores: (M, K_t) of the proposals of one image.
            support: (M,) int64 row of the source's own box on which each proposal lies; -1 for none.
            source_labels: (M,) int64 class of each own box in the source's space; only rows that `support` names are read.
            threshold: score from which labels are written anyway.
            least_share: of the source class in the target's class.
        """
        found, lies_on_own = torch.zeros_like(scores, dtype=torch.bool), support >= 0
        reached = support[lies_on_own & (scores >= threshold).any(dim=1)]
        owns = support[lies_on_own].unique()
        for own in owns[~torch.isin(owns, reached)].tolist():
            rows = (support == own).nonzero().flatten()
            candidates = scores[rows] * (self.shares[source_labels[own], :-1] >= least_share)
            row, label = divmod(int(candidates.argmax()), scores.shape[1])
            found[rows[row], label] = candidates[row, label] > 0
        return found


def count_relations(boxes: LabelTable, others: LabelTable, iou: float = 0.5) -> Tensor:
    """(K_s, K_t + 1) float32 counts: which box of another label space lies where a box of each class does.

    Args:
        boxes: in the source's space: what its detector finds on images of the target, or its own boxes on its own.
        others: of the same images in the same order, in the target's space: the target's own boxes, or what its detector finds.
        iou: least overlap; a box without such a partner counts as background.
    """
    num_target = len(others.space)
    best, best_iou = overlaps(boxes, others).best()
    partner = np.full(boxes.num_boxes, num_target)
    partner[best_iou >= iou] = others.labels[best[best_iou >= iou]]
    counts = np.bincount(boxes.labels * (num_target + 1) + partner, minlength=len(boxes.space) * (num_target + 1))
    return torch.from_numpy(counts.reshape(-1, num_target + 1)).float()


def learn_shares(counts: Tensor, class_scores: Tensor, source_labels: Tensor) -> Tensor:
    """(K_s, K_t + 1) shares of the target's classes under each source class, as the source's own boxes show them.

    The model's class scores stand on relations as the target's images show them through the source's detector, confusions
    included: where `bus` and `truck` look alike, both become either. The source's own boxes know better. With the shares of
    the target's classes under each source class as unknowns, expectation maximisation finds those under which the scores of
    all its boxes are likeliest; clear boxes then decide for doubtful ones. Shares of classes that were counted rarely stay,
    and that of background; all do if nothing was counted.

    Args:
        counts: (K_s, K_t + 1) from `count_relations` on the target's images.
        class_scores: (N, K_t + 1) of the model for the source's own boxes.
        source_labels: (N,) their classes.

    Source: adjusting a classifier to new prior probabilities (Saerens, Latinne and Decaestecker 2002).
    """
    old = new = expected_shares(counts)
    if not counts.any():
        return old
    judged, boxes = _judged(old), torch.bincount(source_labels, minlength=len(old))[:, None]
    for _ in range(ITERATIONS):
        scores = _weighed(class_scores, _ratio(new, old, judged)[source_labels])
        shares = (torch.zeros_like(old).index_add_(0, source_labels, scores) + PRIOR_BOXES * old) / (boxes + PRIOR_BOXES)
        known, found = ((part * judged).sum(dim=1, keepdim=True) for part in (old, shares))
        new = torch.where(judged, shares * known / found.clamp(min=SMALLEST), old)
    return new


def expected_shares(counts: Tensor) -> Tensor:
    """(K_s, K_t + 1) shares, rows sum to 1, of counts; a class that was counted little has nearly those of all classes."""
    total = counts.sum(dim=0) if counts.any() else torch.ones(counts.shape[1])
    overall = total / total.sum()
    return (counts + overall) / (counts.sum(dim=1, keepdim=True) + 1.0)


def _weighed(class_scores: Tensor, factors: Tensor) -> Tensor:
    """Scores (N, K_t + 1) times factors (N, K_t + 1), each row summing to 1 again."""
    scores = class_scores * factors
    return scores / scores.sum(dim=1, keepdim=True).clamp(min=1e-9)


def _judged(old: Tensor) -> Tensor:
    """(K_s, K_t + 1) bool: classes that have `LEAST_SHARE` of the commonest one's share or more; never background."""
    judged = old >= LEAST_SHARE * old.amax(dim=1, keepdim=True)
    judged[:, -1] = False
    return judged


def _ratio(new: Tensor, old: Tensor, judged: Tensor) -> Tensor:
    return torch.where(judged, new / old.clamp(min=SMALLEST), torch.ones(()))
