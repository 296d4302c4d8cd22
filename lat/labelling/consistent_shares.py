"""Class shares made consistent over several label spaces: detectors' confusions contradict each other, and are damped.

If `bus` and `truck` look alike, each seems to be partly the other in the other space. But each has a better partner there, so
the weak tie between them is a confusion. A tie stays if one of its classes has no better partner, like those of `person` to
`adult` and to `child`. Shape letters: K_s and K_t classes of two label spaces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lat.labelling.class_shares import ClassShares

WEAK = 0.8  # a tie is a confusion if, for both its classes, it is weaker than this share of the strongest
DAMPED = 0.1  # factor on the share of a confusion; it is not forbidden
MAX_PASSES = 10

_ByPair = dict[tuple[str, str], Tensor]  # by the names of source and target


def make_consistent(learnt: Sequence[ClassShares], boxes: Mapping[str, Tensor]) -> list[ClassShares]:
    """Damp the shares of confusions; the other classes of the row gain what they lose, and "none" keeps its share.

    The strength of a tie, for one of its classes, is the share of that class's objects that are of the other class, ignoring
    "none": the mean of the given share and the share computed from the opposite direction and the numbers of boxes (Bayes). The
    search for confusions repeats on the result until nothing changes. From the second pass on, paths through every other space
    count too, because a class's shares there show what it can be in the target.

    Args:
        learnt: one for every ordered pair of at least two label spaces.
        boxes: (K,) number of boxes of each class in the dataset of each label space, by its name.

    Returns:
        The same in the same order.
    """
    shares = {(one.source.name, one.target.name): one.shares for one in learnt}
    found, before = dict(shares), {pair: torch.zeros(()) for pair in shares}
    for number in range(MAX_PASSES):
        classes = {pair: _rows_to_one(each[:, :-1]) for pair, each in found.items()}
        ways = _with_ways(classes) if number else classes
        strength = {(s, t): (ways[s, t] + _rows_to_one(ways[t, s].T * boxes[t])) / 2 for s, t in ways}
        confusions = {(s, t): _weak(strength[s, t]) & _weak(strength[t, s]).T for s, t in ways}
        if all(torch.equal(confusions[pair], before[pair]) for pair in confusions):
            break
        found, before = {pair: _damped(shares[pair], confusions[pair]) for pair in shares}, confusions
    return [replace(one, shares=found[one.source.name, one.target.name], found_by="consistent") for one in learnt]


def _with_ways(classes: _ByPair) -> _ByPair:
    """The mean of shares (K_s, K_t) and the shares through each other space."""
    names = {source for source, _ in classes}

    def way(source: str, via: str, target: str) -> Tensor:
        return classes[source, target] if via == target else classes[source, via] @ classes[via, target]

    return {(s, t): torch.stack([way(s, via, t) for via in sorted(names - {s})]).mean(dim=0) for s, t in classes}


def _weak(strength: Tensor) -> Tensor:
    """(K_s, K_t) bool: ties weaker than the strongest one of the row's class."""
    return strength < WEAK * strength.amax(dim=1, keepdim=True)


def _damped(shares: Tensor, confusions: Tensor) -> Tensor:
    """Shares (K_s, K_t + 1) with those of confusions (K_s, K_t) damped."""
    known = shares[:, :-1].sum(dim=1, keepdim=True)
    classes = torch.where(confusions, DAMPED * shares[:, :-1], shares[:, :-1])
    return torch.cat([known * _rows_to_one(classes), shares[:, -1:]], dim=1)


def _rows_to_one(values: Tensor) -> Tensor:
    return values / values.sum(dim=1, keepdim=True).clamp(min=1e-6)
