"""Krippendorff's alpha, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lat.evaluation.nominal_alpha import nominal_alpha

CAT, DOG, NOTHING = 0, 1, -1


def alpha(*units: tuple[int, int]) -> float | None:
    first, second = np.array(units, np.int64).reshape(-1, 2).T
    return nominal_alpha(first, second)


def test_by_hand() -> None:
    # 8 values: 5 cats, 2 dogs, 1 nothing. Ordered pairs that differ: 2 units x 2 = 4. Pairs of different values by chance:
    # 5 * 2 + 5 * 1 + 2 * 1 = 17, twice = 34. So alpha = 1 - 7 * 4 / 34.
    assert alpha((CAT, CAT), (CAT, CAT), (DOG, CAT), (DOG, NOTHING)) == pytest.approx(1 - 28 / 34)


def test_full_agreement_is_one_and_swapped_values_are_below_chance() -> None:
    assert alpha((CAT, CAT), (DOG, DOG)) == 1
    assert alpha((CAT, DOG), (DOG, CAT)) == pytest.approx(1 - 3 * 4 / 8)


def test_who_comes_first_is_no_matter() -> None:
    units = ((CAT, CAT), (DOG, CAT), (NOTHING, DOG), (DOG, DOG))
    assert alpha(*units) == alpha(*[(second, first) for first, second in units])


def test_independent_values_agree_by_chance() -> None:
    generator = np.random.default_rng(0)
    assert nominal_alpha(generator.integers(0, 3, 20000), generator.integers(0, 3, 20000)) == pytest.approx(0, abs=0.03)


def test_nothing_to_agree_on() -> None:
    assert alpha() is None
    assert alpha((CAT, CAT), (CAT, CAT)) is None
