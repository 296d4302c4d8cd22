"""Source classes about whose counterparts the ways to estimate class shares contradict one another.

Where detectors confuse two classes, counting suggests one thing and the search for consistent shares another; most often it is
right, and a person who knows both protocols can say so. Shape letters: K_s and K_t classes of two label spaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from lat.labelling.class_shares import ClassShares

UNDECIDED = 0.2  # share of a class's objects of which two ways of estimating say different things, from which it is undecided


def contradiction(estimates: Sequence[ClassShares]) -> Tensor:
    """(K_s,) in [0, 1]: the largest share of each class's objects on whose class two of the estimates differ; 0 for a single one.

    It is the total variation distance of the rows without "none", each summing to 1: what is missed is no confusion. A class
    counts by the share of it that is not "none" in the first estimate.
    """
    nothing = torch.zeros(len(estimates[0].source))
    rows = [one.shares[:, :-1] / one.shares[:, :-1].sum(dim=1, keepdim=True).clamp(min=1e-6) for one in estimates]
    apart = [(one - other).abs().sum(dim=1) / 2 for one, other in combinations(rows, 2)]
    return torch.stack([nothing, *apart]).amax(dim=0) * (1 - estimates[0].shares[:, -1])


def undecided(estimates: Sequence[ClassShares]) -> Tensor:
    """(K_s,) bool: classes whose shares are undecided."""
    return contradiction(estimates) >= UNDECIDED
