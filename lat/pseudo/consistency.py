"""What the classes of several label spaces are in each other, made consistent: confusions of detectors contradict themselves.

Where `bus` and `truck` look alike, each seems to be partly the other in the other space. But both have a better partner there,
each its own: then the weak tie between them is a confusion. A tie stays if one of its classes has no better partner, as those of
`person` to `adult` and to `child`. Shape letters: K_s and K_t classes of two label spaces.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

WEAK = 0.5  # a tie that is weaker than this share of the strongest, for both of its classes, is a confusion
DAMPED = 0.1  # what is left of the share of a confusion; it is not forbidden

Shares = dict[tuple[str, str], Tensor]  # by source and target: (K_s, K_t + 1), rows sum to 1, background last


def consistent_shares(shares: Mapping[tuple[str, str], Tensor]) -> Shares:
    """Damp the shares that are confusions; what they lose the other classes of the row gain, and background stays as it is.

    The strength of a tie of two classes is the mean of what share of each the other is, background left aside. Confusions are
    sought twice: first by these strengths, then by their mean with those of the ways through every other space, since what a
    class is there tells what it can be in the target.

    Args:
        shares: (K_s, K_t + 1) float32 of every ordered pair of at least two label spaces.
    """
    direct = {(s, t): _damped(shares[s, t], _strength(_direct(shares, s, t), _direct(shares, t, s))) for s, t in shares}
    names = sorted({source for source, _ in shares})
    ways = {(s, t): torch.stack([_way(direct, s, via, t) for via in names if via != s]).mean(dim=0) for s, t in direct}
    return {(s, t): _damped(direct[s, t], _strength(ways[s, t], ways[t, s])) for s, t in direct}


def _direct(shares: Mapping[tuple[str, str], Tensor], source: str, target: str) -> Tensor:
    """(K_s, K_t) shares without background; rows sum to 1."""
    classes = shares[source, target][:, :-1]
    return classes / classes.sum(dim=1, keepdim=True).clamp(min=1e-6)


def _way(shares: Mapping[tuple[str, str], Tensor], source: str, via: str, target: str) -> Tensor:
    """(K_s, K_t) shares through another space; directly if that is the target."""
    if via == target:
        return _direct(shares, source, target)
    return _direct(shares, source, via) @ _direct(shares, via, target)


def _strength(there: Tensor, back: Tensor) -> Tensor:
    """(K_s, K_t) strengths of ties, from shares (K_s, K_t) and (K_t, K_s)."""
    return (there + back.T) / 2


def _damped(shares: Tensor, strength: Tensor) -> Tensor:
    """Shares (K_s, K_t + 1), those of confusions damped."""
    weak_in_row, weak_in_column = (strength < WEAK * strength.amax(dim=side, keepdim=True) for side in (1, 0))
    classes = torch.where(weak_in_row & weak_in_column, DAMPED * shares[:, :-1], shares[:, :-1])
    known = shares[:, :-1].sum(dim=1, keepdim=True)
    return torch.cat([classes * known / classes.sum(dim=1, keepdim=True).clamp(min=1e-6), shares[:, -1:]], dim=1)
