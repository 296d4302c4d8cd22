"""The few questions about classes that are worth a person's time.

A question asks what one class of a source can be in a target. Its answer settles that class there and, in the other direction,
what each class of the target has to do with it (`lat.labelling.answers`). Shape letters: K_s and K_t classes of two label spaces.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lat.labelling.answers import Answers
from lat.labelling.class_shares import ClassShares
from lat.labelling.undecided_shares import UNDECIDED, undecided

FEWEST_OBJECTS = 5.0  # a target class with fewer counts as if it had so many
SMALLEST_SHARE = 1e-5  # an estimate that says less says this
FEWEST_LISTED, MOST_LISTED = 3, 9  # classes of the target that have a number
LIKELY_SHARE = 0.01  # a target class is a likely answer if an estimate says that it is so large a share

_Pair = tuple[str, str]


@dataclass(frozen=True)
class Question:
    """What a class of a source can be in a target.

    Attributes:
        source: the source's name.
        target: the target's name.
        source_class: the class.
        boxes: human boxes of it.
        gain: how much of the target's classes, and of the source's in the other direction, is in question, in classes.
        choices: all classes of the target, the likeliest first, each with the smallest and the largest share that estimates say.
        likely: how many of these may well be the answer.
    """

    source: str
    target: str
    source_class: str
    boxes: int
    gain: float
    choices: tuple[tuple[str, float, float], ...]
    likely: int

    @property
    def listed(self) -> int:
        """How many of the choices are listed with a number: the likely ones, but not too few or too many."""
        return min(max(self.likely, FEWEST_LISTED), MOST_LISTED, len(self.choices))

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for programs and for the report."""
        choices = [{"class": name, "least": low, "most": high} for name, low, high in self.choices]
        asked = {"source": self.source, "target": self.target, "class": self.source_class}
        return {**asked, "boxes": self.boxes, "gain": self.gain, "choices": choices, "listed": self.listed}


def pick_questions(
    estimates: Mapping[_Pair, Sequence[ClassShares]],
    boxes: Mapping[str, Tensor],
    answers: Mapping[_Pair, Answers],
    most: int,
    transfers: Collection[_Pair],
    skipped: Collection[tuple[str, str, str]] = (),
) -> list[Question]:
    """The questions with the largest expected gain, largest first; each counts what those before it leave open.

    A question is asked only if an undecided class would be settled by its answer, or its class is split in a way that is a sign
    of a mistake that all estimates share (`_odd_splits`).

    Args:
        estimates: class shares of every ordered pair of label spaces, that which is used first.
        boxes: (K,) number of human boxes of each class, by label space.
        answers: what has been said already; pairs may be missing.
        most: how many at most.
        transfers: the pairs whose labels are wanted: nothing else is gained.
        skipped: source, target and source class of questions that nobody can answer, nor what the answer would settle.
    """
    open_shares, is_asked = {}, {}
    decided = {pair: answers[pair].deciding(each) if pair in answers else list(each) for pair, each in estimates.items()}
    for pair, each in decided.items():
        in_question, splits = _in_question(each), _odd_splits(estimates[pair][0], estimates[pair[::-1]][0])
        if pair in answers:
            splits = splits.masked_fill(answers[pair].concerned[:, None], 0.0)
        splits = splits.masked_fill(undecided(each)[:, None], 0.0)  # of these, what estimates say tells more
        shares = torch.maximum(in_question, splits)
        open_shares[pair] = _in_classes(shares, each[0], boxes[pair[0]]) * (pair in transfers)
        is_asked[pair] = _settles(each, decided[pair[::-1]]) | splits.any(dim=1)
    for source, target in decided:
        if (source, target) in answers:
            is_asked[source, target][list(answers[source, target].rows)] = False
    for source, target, name in skipped:
        index = decided[source, target][0].source.class_names.index(name)
        is_asked[source, target][index] = False
        _settle(open_shares, (source, target), index)
    picked: list[Question] = []
    while len(picked) < most:
        gains = {
            pair: (each.sum(dim=1) + open_shares[pair[::-1]].sum(dim=0)) * is_asked[pair] for pair, each in open_shares.items()
        }
        pair = max(gains, key=lambda one: float(gains[one].max()))
        index = int(gains[pair].argmax())
        if not gains[pair][index] > 0:
            break
        picked.append(_question(decided[pair], index, int(boxes[pair[0]][index]), float(gains[pair][index])))
        _settle(open_shares, pair, index)
    return picked


def _settle(open_shares: Mapping[_Pair, Tensor], pair: _Pair, index: int) -> None:
    """Leave nothing in question of what the answer about a source class settles."""
    open_shares[pair][index] = 0.0
    open_shares[pair[::-1]][:, index] = 0.0


def _in_question(estimates: Sequence[ClassShares]) -> Tensor:
    """(K_s, K_t): what share of a source class may or may not be of a target class.

    Of what estimates say of two classes, the geometric mean of the smallest and the largest share is in question, the less the
    closer these are, and nothing if they agree.
    """
    shares = torch.stack([_of_classes(one) for one in estimates])
    low, high = shares.amin(dim=0), shares.amax(dim=0)
    return (low.clamp(min=SMALLEST_SHARE) * high).sqrt() * (1 - low / high.clamp(min=1e-6)).square()


def _odd_splits(one: ClassShares, opposite: ClassShares) -> Tensor:
    """(K_s, K_t) in [0, 1]: how evenly a class is split among target classes that are mostly something else; 0 for other classes.

    A class that takes in several is split too, but each of these is all its own. Where one is split although each part belongs
    to other classes for the most, class lists would have to cross: more often a detector confuses it with these, and then all
    estimates are wrong alike. Which of the parts it is, is open the more the evener the split is.
    """
    shares, share_back = _of_classes(one), _of_classes(opposite).T
    is_part = shares >= UNDECIDED
    is_odd = (is_part.sum(dim=1) > 1) & (~is_part | (share_back < 0.5)).all(dim=1)
    return 4 * shares * (1 - shares) * (is_part & is_odd[:, None])


def _in_classes(shares: Tensor, used: ClassShares, boxes: Tensor) -> Tensor:
    """Shares (K_s, K_t) of source classes as shares of all objects of each target class: these count alike, as in AP."""
    objects = (boxes * (1 - used.shares[:, -1]))[:, None]
    of_target = (objects * _of_classes(used)).sum(dim=0).clamp(min=FEWEST_OBJECTS)
    return objects * shares / of_target


def _settles(estimates: Sequence[ClassShares], opposite: Sequence[ClassShares]) -> Tensor:
    """(K_s,) bool: classes whose answer settles an undecided class: their own, or one of the target's that may be theirs."""
    shares = torch.stack([_of_classes(one) for one in opposite])
    is_open = shares.amax(dim=0) - shares.amin(dim=0) >= UNDECIDED
    return undecided(estimates) | (is_open & undecided(opposite)[:, None]).any(dim=0)


def _of_classes(one: ClassShares) -> Tensor:
    """(K_s, K_t) shares without "none", each row summing to 1."""
    return one.shares[:, :-1] / one.shares[:, :-1].sum(dim=1, keepdim=True).clamp(min=1e-6)


def _question(estimates: Sequence[ClassShares], index: int, boxes: int, gain: float) -> Question:
    source, target = estimates[0].source, estimates[0].target
    shares = torch.stack([one.shares[index, :-1] for one in estimates])
    columns = zip(target.class_names, shares.amin(dim=0).tolist(), shares.amax(dim=0).tolist(), strict=True)
    choices = tuple(sorted(columns, key=lambda one: -one[2]))
    likely = sum(high >= LIKELY_SHARE for _, _, high in choices)
    return Question(source.name, target.name, source.class_names[index], boxes, gain, choices, likely)
