"""Classes about which estimates of class shares contradict one another."""

from __future__ import annotations

import pytest
from known_evidence import class_shares

from lat.labelling.undecided_shares import UNDECIDED, contradiction, undecided


def test_the_two_estimates_that_differ_most_decide_and_none_is_no_confusion() -> None:
    estimates = [
        class_shares([0.9, 0.1, 0.0], [0.5, 0.0, 0.5]),
        class_shares([0.6, 0.4, 0.0], [0.1, 0.0, 0.9]),
        class_shares([0.7, 0.3, 0.0], [0.25, 0.25, 0.5]),
    ]
    assert contradiction(estimates).tolist() == pytest.approx([0.3, 0.5 * 0.5])
    assert undecided(estimates).tolist() == [True, True]
    assert UNDECIDED == 0.2
    assert undecided(estimates[1:]).tolist() == [False, False]  # 0.1, and half of the tenth that is not "none"


def test_one_estimate_contradicts_nothing() -> None:
    assert contradiction([class_shares([0.5, 0.5, 0.0], [0.0, 0.0, 1.0])]).tolist() == [0.0, 0.0]
