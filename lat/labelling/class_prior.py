"""Class prior: factors for class scores on human boxes, derived from class shares.

The class of one box is noisy; the shares of a whole dataset are not. Shape letters: N boxes, M proposals of an image, K_s and
K_t classes of the source's and of the target's label space; "none" (background) is last, at index K_t.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from lat.labelling.class_shares import NOTHING, ClassShares

RARE = 0.1  # a target class rarer than this share of the commonest one is left to the model
SMALLEST_SHARE = 1e-6  # replaces a share of 0 in divisions


@dataclass(frozen=True, eq=False)
class ClassPrior:
    """What the class of a human box implies for the labels that overlap it.

    Attributes:
        factors: (K_s, K_t + 1) float32 factors for class scores on human boxes of each class; 1 changes nothing, 0 forbids.
        shares: the class shares behind them.
    """

    factors: Tensor
    shares: ClassShares

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        shares = replace(self.shares, shares=self.shares.shares.to(device))
        return replace(self, factors=self.factors.to(device), shares=shares)

    @classmethod
    def of_shares(cls, new: ClassShares, old: ClassShares, floor: float) -> Self:
        """The prior for class shares `new`, for scores that were learnt under class shares `old`.

        By Bayes, each score is multiplied with new share / old share, both at least `floor`. "None" keeps its score.

        Source: Saerens, Latinne and Decaestecker (2002), equation 2.4.
        """
        smallest = max(floor, SMALLEST_SHARE)
        factors = new.shares.clamp(min=smallest) / old.shares.clamp(min=smallest)
        factors[:, -1] = 1.0
        return cls(factors, new)

    @classmethod
    def of_learnt_shares(cls, new: ClassShares, old: ClassShares) -> Self:
        """As `of_shares`, but without a floor: classes that are rare under `old` keep their scores."""
        return cls(share_ratio(new.shares, old.shares, common_classes(old.shares)), new)

    def weighing_none(self, is_without_counterpart: Tensor, scored: ClassShares) -> Self:
        """The same prior in which "none" weighs against the classes that a source class without a counterpart might become.

        The model never saw human boxes of such a class labelled in the target's space, so the shares that its scores of them were
        learnt under are not the counted ones. By Bayes, each score, that of "none" too, is multiplied with the share of the prior
        over the share that the scores show. The shares of the prior must agree that most are "none".

        Args:
            is_without_counterpart: (K_s,) bool, see `lat.labelling.class_shares.without_counterpart`.
            scored: the shares that the scores show.
        """
        shares = self.shares.shares
        is_weighed = is_without_counterpart & (shares[:, -1] > NOTHING)
        return replace(
            self, factors=torch.where(is_weighed[:, None], shares / scored.shares.clamp(min=SMALLEST_SHARE), self.factors)
        )

    def vetoing(self, threshold: float) -> Self:
        """The same prior with target classes below the share threshold forbidden; "none" never is."""
        forbidden = self.shares.shares < threshold
        forbidden[:, -1] = False
        return replace(self, factors=torch.where(forbidden, 0.0, self.factors))

    def forbidding(self, is_forbidden: Tensor) -> Self:
        """The same prior with target classes (K_s, K_t) bool forbidden."""
        factors = self.factors.clone()
        factors[:, :-1].masked_fill_(is_forbidden, 0.0)
        return replace(self, factors=factors)

    def applied(self, class_scores: Tensor, source_labels: Tensor) -> Tensor:
        """Class scores (N, K_t + 1) of boxes on human boxes of classes (N,), each row summing to 1 again.

        A box with all its score on forbidden classes becomes background.
        """
        return weighed(class_scores, self.factors[source_labels])

    def source_classes(self, class_scores: Tensor, target_labels: Tensor) -> Tensor:
        """The class (N,) int64 that an annotator of the source would give to objects with a known target class.

        Unlike an annotator, the source's detector does not know the object's class: its scores (N, K_s) decide only among the
        classes with a large share in the object's target class (N,) int64.
        """
        return (class_scores * self.shares.shares[:, target_labels].T.clamp(min=SMALLEST_SHARE)).argmax(dim=1)

    def supported(
        self, scores: Tensor, support: Tensor, source_labels: Tensor, score_threshold: float, share_threshold: float
    ) -> Tensor:
        """The candidates below the score threshold that human boxes vouch for, (M, K_t) bool.

        A human box on which no proposal reaches the score threshold in any class keeps its best candidate: the highest score
        above 0 among the overlapping proposals, in a class with at least the share threshold of the human box's class.

        Args:
            scores: (M, K_t) of the proposals of one image.
            support: (M,) int64 row of the human box that each proposal overlaps; -1 for none.
            source_labels: (M,) int64 class of each human box in the source's space; only rows in `support` are read.
            score_threshold: labels with at least this score are written anyway.
            share_threshold: minimum share of the source class in the target class.
        """
        none, rows = len(support), torch.arange(len(support), device=support.device)
        human = torch.where(support >= 0, support, none)  # where a proposal lies on no human box, one more
        reaches = (scores >= score_threshold).any(dim=1).int()
        is_reached = reaches.new_zeros(none + 1).scatter_reduce(0, human, reaches, "amax") > 0
        allowed = self.shares.shares[source_labels[support], :-1] >= share_threshold
        highest, label = (scores * allowed).max(dim=1)
        of_human = highest.new_zeros(none + 1).scatter_reduce(0, human, highest, "amax")
        is_best = (support >= 0) & ~is_reached[human] & (highest > 0) & (highest == of_human[human])
        first = rows.new_full((none + 1,), none).scatter_reduce(0, torch.where(is_best, human, none), rows, "amin")
        is_kept = is_best & (first[human] == rows)
        return torch.zeros_like(scores, dtype=torch.bool).scatter(1, label[:, None], is_kept[:, None])


def weighed(class_scores: Tensor, factors: Tensor) -> Tensor:
    """Scores (N, K_t + 1) times factors (N, K_t + 1), each row summing to 1 again."""
    scores = class_scores * factors
    return scores / scores.sum(dim=1, keepdim=True).clamp(min=1e-9)


def common_classes(shares: Tensor) -> Tensor:
    """(K_s, K_t + 1) bool: classes with at least `RARE` times the share of the commonest one; never "none"."""
    is_common = shares >= RARE * shares.amax(dim=1, keepdim=True)
    is_common[:, -1] = False
    return is_common


def share_ratio(new: Tensor, old: Tensor, is_common: Tensor) -> Tensor:
    """(K_s, K_t + 1): new share / old share for common classes, 1 elsewhere."""
    return torch.where(is_common, new / old.clamp(min=SMALLEST_SHARE), torch.ones(()))
