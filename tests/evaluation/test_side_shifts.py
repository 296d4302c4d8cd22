"""How sides of boxes shift from one annotator to the other."""

from __future__ import annotations

import numpy as np
import pytest

from lat.evaluation.side_shifts import class_convention, median_shift, side_shifts

BOX = np.array([[10, 20, 60, 40]], np.float32)  # 50 wide, 20 high


def test_shifts_are_in_percent_of_the_first_box_and_positive_outwards() -> None:
    second = np.array([[9, 22, 62, 45]], np.float32)
    assert side_shifts(BOX, second).tolist() == [[2.0, -10.0, 4.0, 25.0]]


def test_the_interval_of_a_median_by_hand() -> None:
    # 25 values: half of 1.96 * 5 is 4.9, ranks 12.5 - 4.9 = 7.6 and 13.5 + 4.9 = 18.4, outwards 7 and 19; half of the distances
    # from 13 are at most 6
    shift = median_shift(np.arange(1.0, 26)[::-1])
    assert (shift.median, shift.low, shift.high) == (13, 7, 19)
    assert shift.scatter == pytest.approx(1.4826 * 6)
    assert shift.margin == 6
    assert median_shift(np.array([3.0])).low == median_shift(np.array([3.0])).high == 3


def test_the_interval_covers_the_median_of_a_skewed_distribution() -> None:
    generator = np.random.default_rng(0)
    samples = [median_shift(generator.exponential(size=40)) for _ in range(2000)]
    covered = np.mean([one.low <= np.log(2) <= one.high for one in samples])
    assert 0.95 <= covered <= 0.985


def drawn(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """20 boxes that reach further out by these shares of their sizes."""
    return np.repeat(BOX + np.array([[-50 * left, -20 * top, 50 * right, 20 * bottom]], np.float32), 20, axis=0)


def test_sentences() -> None:
    first = np.repeat(BOX, 20, axis=0)
    assert class_convention(("car", "car"), first, drawn(0, 0, 0, 0.1)).sentence == (
        "boxes of `car` reach 10.0 ± 0.0 % further down in B"
    )
    assert class_convention(("cell", "RBC"), first, drawn(0.02, -0.1, 0.04, 0)).sentence == (
        "boxes of `cell` that are `RBC` in B reach 2.0 ± 0.0 % further left, 10.0 ± 0.0 % less far up and "
        "4.0 ± 0.0 % further right in B"
    )
    unclear = first + np.tile([[1.0], [-1.0]], (10, 4)).astype(np.float32)
    assert class_convention(("car", "car"), first, unclear).sentence == (
        "boxes of `car` have their sides in the same places in both, to within 5.0 %"
    )
