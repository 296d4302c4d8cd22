"""What the classes of several label spaces are in each other, made consistent: confusions of detectors contradict themselves.

Where `bus` and `truck` look alike, each seems to be partly the other in the other space. But both have a better partner there,
each its own: then the weak tie between them is a confusion. A tie stays if one of its classes has no better partner, as those of
`person` to `adult` and to `child`. Shape letters: K_s and K_t classes of two label spaces.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

WEAK = 0.8  # a tie that is weaker than this share of the strongest, for both of its classes, is a confusion
DAMPED = 0.1  # what is left of the share of a confusion; it is not forbidden
MOST_PASSES = 10

Shares = dict[tuple[str, str], Tensor]  # by source and target: a row for each class of the source


def consistent_shares(shares: Mapping[tuple[str, str], Tensor], boxes: Mapping[str, Tensor]) -> Shares:
    """Damp the shares that are confusions; what they lose the other classes of the row gain, and background stays as it is.

    How strong a tie is for a class is what share of it the other class is, background left aside: the mean of the share that is
    given, and of that which follows from the shares of the other direction and the numbers of boxes (Bayes). Confusions are
    sought again in what is left, until they stay the same; from the second time on with the ways through every other space,
    since what a class is there tells what it can be in the target.

    Args:
        shares: (K_s, K_t + 1) float32 of every ordered pair of at least two label spaces; rows sum to 1, background last.
        boxes: (K,) number of boxes of each class in the dataset of each label space.
    """
    found, before = dict(shares), {pair: torch.zeros(()) for pair in shares}
    for number in range(MOST_PASSES):
        classes = {pair: _rows_to_one(each[:, :-1]) for pair, each in found.items()}
        ways = _with_ways(classes) if number else classes
        strength = {(s, t): (ways[s, t] + _rows_to_one(ways[t, s].T * boxes[t])) / 2 for s, t in ways}
        confusions = {(s, t): _weak(strength[s, t]) & _weak(strength[t, s]).T for s, t in ways}
        if all(torch.equal(confusions[pair], before[pair]) for pair in confusions):
            break
        found, before = {pair: _damped(shares[pair], confusions[pair]) for pair in shares}, confusions
    return found


def _with_ways(classes: Shares) -> Shares:
    """The mean of shares (K_s, K_t) and of those through each other space."""
    names = {source for source, _ in classes}

    def way(source: str, via: str, target: str) -> Tensor:
        return classes[source, target] if via == target else classes[source, via] @ classes[via, target]

    return {(s, t): torch.stack([way(s, via, t) for via in sorted(names - {s})]).mean(dim=0) for s, t in classes}


def _weak(strength: Tensor) -> Tensor:
    """(K_s, K_t) bool: ties weaker than the strongest of the class of the row."""
    return strength < WEAK * strength.amax(dim=1, keepdim=True)


def _damped(shares: Tensor, confusions: Tensor) -> Tensor:
    """Shares (K_s, K_t + 1), those of confusions (K_s, K_t) damped."""
    known = shares[:, :-1].sum(dim=1, keepdim=True)
    classes = torch.where(confusions, DAMPED * shares[:, :-1], shares[:, :-1])
    return torch.cat([known * _rows_to_one(classes), shares[:, -1:]], dim=1)


def _rows_to_one(values: Tensor) -> Tensor:
    return values / values.sum(dim=1, keepdim=True).clamp(min=1e-6)
