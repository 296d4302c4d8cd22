"""What people make of a protocol: boxes that scatter, objects that are missed, wrong classes, and objects boxed twice.

Every dataset has annotators of its own, whose habits are drawn from the seed and the dataset, class by class, evenly within

| habit | range | of |
|---|---|---|
| `SCATTER` | 3 to 9 % | an object's width or height: the standard deviation of a side's place; see `Habits` |
| `MISSED` | 0 to 40 % | the objects of a class |
| `WRONG_CLASS` | 1 to 3 % | the boxes of a class, which get another class of the label space |
| `BOXED_TWICE` | 1 to 2 % | the boxes of a class, which get a second box with a scatter of its own |

Scatter is as people's of real boxes: between two annotations of blood cells it is 4 % for the cells and 8 % for the platelets,
which are the smaller ones. `CAREFUL` annotators are alike in all datasets and classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lat.street_scenes.protocols import SPACES, Annotation, BoxXywh

ANNOTATORS = ("real", "careful", "exact")

Range = tuple[float, float]
SCATTER: Range = (0.03, 0.09)
MISSED: Range = (0.0, 0.4)
WRONG_CLASS: Range = (0.01, 0.03)
BOXED_TWICE: Range = (0.01, 0.02)
SMALL, LARGE = 8.0, 48.0  # pixels, square root of a box's area: scatter is interpolated between them, constant beyond
SHORTEST_SIDE = 2.0  # pixels
HABITS, IMAGES = 1, 2  # streams of random numbers, apart from those of the drawing


@dataclass(frozen=True)
class Habits:
    """How the annotators of one dataset label one class.

    Attributes:
        scatter: standard deviation of the place of a side, as a share of the width or height, of small and of large objects.
        missed: probability that an object has no box.
        wrong_class: probability that a box has a class of another name.
        boxed_twice: probability that an object has two boxes.
    """

    scatter: Range
    missed: float
    wrong_class: float
    boxed_twice: float

    def scatter_of(self, box_xywh: BoxXywh) -> float:
        """The scatter of an object of this size; the smaller, the larger."""
        side = (box_xywh[2] * box_xywh[3]) ** 0.5
        return float(np.interp(side, (SMALL, LARGE), self.scatter))


CAREFUL = Habits(scatter=(0.04, 0.04), missed=0.1, wrong_class=0.0, boxed_twice=0.0)
"""The habits of annotators who scatter as little as those of real cells, miss a tenth of the objects and err in nothing else."""


def habits_of(dataset: str, seed: int, annotators: str = "real") -> Mapping[str, Habits]:
    """The habits of a dataset's annotators, `real` or `careful`, by class."""
    if annotators == "careful":
        return dict.fromkeys(SPACES[dataset].class_names, CAREFUL)
    rng = np.random.default_rng([seed, tuple(SPACES).index(dataset), HABITS])
    habits = {}
    for name in SPACES[dataset].class_names:
        of_large, of_small = sorted(rng.uniform(*SCATTER, size=2).tolist())
        rates = (float(rng.uniform(*each)) for each in (MISSED, WRONG_CLASS, BOXED_TWICE))
        habits[name] = Habits((of_small, of_large), *rates)
    return habits


def annotate_by_hand(
    exact: Sequence[Annotation], habits: Mapping[str, Habits], size_hw: tuple[int, int], rng: np.random.Generator
) -> list[Annotation]:
    """What annotators write down of one image, in order; a second box of an object follows the first.

    Args:
        exact: the boxes that the protocol asks for.
        habits: of every class of the label space.
        size_hw: height and width of the image in pixels; boxes end there.
        rng: decides what happens to each box.

    Returns:
        Boxes with sides of at least `SHORTEST_SIDE`, and with their own areas.
    """
    found = []
    for one in exact:
        habit, others = habits[one.class_name], [name for name in habits if name != one.class_name]
        is_missed, is_wrong, is_twice = rng.random(3) < (habit.missed, habit.wrong_class, habit.boxed_twice)
        if is_missed:
            continue
        class_name = others[int(rng.integers(len(others)))] if is_wrong else one.class_name
        for _ in range(1 + is_twice):
            box = _drawn_box(one.box_xywh, habit.scatter_of(one.box_xywh), size_hw, rng)
            found.append(replace(one, class_name=class_name, box_xywh=box, area=round(box[2] * box[3], 2)))
    return found


def _drawn_box(box_xywh: BoxXywh, scatter: float, size_hw: tuple[int, int], rng: np.random.Generator) -> BoxXywh:
    """The box with each of its sides displaced by itself, in hundredths of a pixel."""
    x, y, width, height = box_xywh
    left, top, right, bottom = (rng.standard_normal(4) * scatter * (width, height, width, height)).tolist()
    x, width = _within(x + left, x + width + right, size_hw[1])
    y, height = _within(y + top, y + height + bottom, size_hw[0])
    return x, y, width, height


def _within(low: float, high: float, end: int) -> tuple[float, float]:
    """Start and length of an interval clipped to [0, end]; a short one is widened around its middle to the shortest side."""
    low, high = round(max(low, 0.0), 2), round(min(high, end), 2)
    if high - low < SHORTEST_SIDE:
        low = round(min(max((low + high - SHORTEST_SIDE) / 2, 0.0), end - SHORTEST_SIDE), 2)
        high = low + SHORTEST_SIDE
    return low, round(high - low, 2)
