"""How two annotators draw the same objects: by how much each side of a box lies further out in one than in the other.

P pairs of boxes of the same objects. Shifts are in percent of the first box's width (left, right) or height (top, bottom), and
positive where the second box reaches further out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

SIDES = {"left": "left", "top": "up", "right": "right", "bottom": "down"}
"""The sides of a box, and the word for further out there."""

LEAST_PAIRS = 10  # fewer tell nothing about a convention
WITHIN_95 = 1.96  # standard deviations within which 95 % of a normal distribution lie
_MAD = 1.4826  # from the median absolute deviation to the standard deviation of a normal distribution


@dataclass(frozen=True)
class SideShift:
    """The shift of one side over many pairs, in percent.

    Attributes:
        median: half of the pairs shift by less.
        low, high: the 95 % interval of the median.
        scatter: robust standard deviation of single shifts: 1.4826 times the median distance from the median.
    """

    median: float
    low: float
    high: float
    scatter: float

    @property
    def margin(self) -> float:
        """The longer half of the interval."""
        return max(self.high - self.median, self.median - self.low)

    @property
    def is_clear(self) -> bool:
        """True if the direction is beyond doubt."""
        return abs(self.median) > self.margin


@dataclass(frozen=True)
class ClassConvention:
    """How boxes of one class differ from those of the class that the other annotator gives the same objects.

    Attributes:
        first, second: names of the classes.
        pairs: P.
        sides: the shift of each of `SIDES`.
    """

    first: str
    second: str
    pairs: int
    sides: Mapping[str, SideShift]

    @property
    def sentence(self) -> str:
        """The same in words; A and B are the two files."""
        boxes = f"boxes of `{self.first}`" + ("" if self.first == self.second else f" that are `{self.second}` in B")
        if moves := clear_moves(self.sides):
            return f"{boxes} reach {moves} in B"
        return f"{boxes} have their sides in the same places in both, to within {most_apart(self.sides):.1f} %"

    @property
    def scatter(self) -> float:
        """Mean scatter of the sides, in percent."""
        return float(np.mean([shift.scatter for shift in self.sides.values()]))

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON types."""
        sides = {side: asdict(shift) for side, shift in self.sides.items()}
        names = {"A": self.first, "B": self.second}
        return {**names, "pairs": self.pairs, "scatter": self.scatter, "sides": sides, "sentence": self.sentence}


def class_convention(names: tuple[str, str], first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> ClassConvention:
    """Compare boxes (P, 4) of one class with those (P, 4) that the other annotator drew around the same objects; P > 0."""
    shifts = side_shifts(first_xyxy, second_xyxy)
    sides = {side: median_shift(column) for side, column in zip(SIDES, shifts.T, strict=True)}
    return ClassConvention(*names, pairs=len(shifts), sides=sides)


def side_shifts(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    """(P, 4) float64: how much further out each side of the second boxes (P, 4) lies, in percent of the first (P, 4)."""
    first, second = first_xyxy.astype(np.float64), second_xyxy.astype(np.float64)
    size = np.tile(first[:, 2:] - first[:, :2], 2)
    shifts: np.ndarray = 100 * (second - first) * np.array([-1, -1, 1, 1]) / size
    return shifts + 0.0  # without negative zeros


def median_shift(values: np.ndarray) -> SideShift:
    """Median of values (P,), P > 0, with the interval between the values of ranks P/2 - 0.98 sqrt(P) and P/2 + 1 + 0.98 sqrt(P).

    Ranks are rounded outwards, so the median lies there in at least about 95 % of all samples, whatever the distribution.
    """
    ordered, count = np.sort(values), len(values)
    half = WITHIN_95 * np.sqrt(count) / 2
    low, high = int(np.floor(count / 2 - half)) - 1, int(np.ceil(count / 2 + half))  # places of these ranks, from 0
    median = float(np.median(ordered))
    scatter = _MAD * float(np.median(np.abs(ordered - median)))
    return SideShift(median, float(ordered[max(low, 0)]), float(ordered[min(high, count - 1)]), scatter)


def clear_moves(sides: Mapping[str, SideShift]) -> str:
    """The sides whose direction is beyond doubt, in words: "12.0 ± 2.1 % further down and 3.0 ± 1.0 % less far left"; or ""."""
    moves = [_words(side, shift) for side, shift in sides.items() if shift.is_clear]
    return " and ".join([", ".join(moves[:-1]), moves[-1]] if len(moves) > 1 else moves)


def most_apart(sides: Mapping[str, SideShift]) -> float:
    """The end of the intervals of some sides that is furthest from 0, in percent."""
    return max(max(-shift.low, shift.high) for shift in sides.values())


def _words(side: str, shift: SideShift) -> str:
    is_further = shift.median > 0
    direction = f"further {SIDES[side]}" if is_further else f"less far {SIDES[side]}"
    return f"{abs(shift.median):.1f} ± {shift.margin:.1f} % {direction}"
