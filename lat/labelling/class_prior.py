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
