"""Calibration error and thresholds, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lat.evaluation.reliability import ReliabilityBin, best_threshold, expected_calibration_error, reliability_bins

# Four labels in two bins: mean 0.3 with one of two right, mean 0.8 with two of two right.
SCORES, HITS = np.array([0.9, 0.2, 0.7, 0.4]), np.array([True, False, True, True])


def test_the_calibration_error_of_four_labels() -> None:
    bins = reliability_bins(SCORES, HITS, 2)
    assert [(one.score, one.precision, one.count) for one in bins] == [(pytest.approx(0.3), 0.5, 2), (pytest.approx(0.8), 1.0, 2)]
    # 2/4 * |0.5 - 0.3| + 2/4 * |1 - 0.8|
    assert expected_calibration_error(bins) == pytest.approx(0.2)


def test_equal_scores_share_a_bin_whatever_their_order() -> None:
    scores, hits = np.array([1.0] * 9 + [0.5]), np.array([True] * 6 + [False] * 3 + [True])
    expected = (ReliabilityBin(0.5, 1.0, 1), ReliabilityBin(1.0, 6 / 9, 9))
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(10)
        assert reliability_bins(scores[order], hits[order]) == expected
    assert expected_calibration_error(expected) == pytest.approx(0.1 * 0.5 + 0.9 * 3 / 9)


def test_bins_have_equal_mass_and_every_label_once() -> None:
    scores = np.random.default_rng(0).random(103) ** 4
    counts = [one.count for one in reliability_bins(scores, scores > 0.5)]
    assert len(counts) == 10
    assert sum(counts) == 103
    assert set(counts) <= {10, 11}


def test_few_labels_and_none() -> None:
    assert [one.count for one in reliability_bins(SCORES, HITS)] == [1, 1, 1, 1]
    assert reliability_bins(np.zeros(0), np.zeros(0, bool)) == ()
    assert expected_calibration_error(()) is None


def test_scores_that_are_probabilities_have_a_small_error() -> None:
    random = np.random.default_rng(1)
    scores = random.random(20_000)
    hits = random.random(20_000) < scores
    assert expected_calibration_error(reliability_bins(scores, hits)) < 0.015
    assert expected_calibration_error(reliability_bins(scores**2, hits)) > 0.1


def test_the_best_threshold_with_truth() -> None:
    # Five boxes to find. F1 of the k surest: 2 * 1 / 6, 2 * 2 / 7, 2 * 3 / 8 = 0.75, 2 * 3 / 9.
    assert best_threshold(SCORES, HITS, 5) == 0.4
    # No threshold parts labels of equal score: F1 is 2 / 3 after one, 4 / 7 after five; after two it would have been 1.
    assert best_threshold(np.array([0.9, 0.5, 0.5, 0.5, 0.5]), np.array([1, 1, 0, 0, 0]), 2) == 0.9
    assert best_threshold(np.zeros(0), np.zeros(0), 3) is None


def test_the_best_threshold_without_truth_is_half_of_the_expected_f1() -> None:
    # Sum 2.2. Expected F1 of the k surest: 1.8 / 3.2 = 0.5625, 3.2 / 4.2 = 0.7619, 4.0 / 5.2 = 0.7692, 4.4 / 6.2 = 0.7097;
    # 0.4 is above half of 0.7692, 0.2 below it.
    assert best_threshold(SCORES, SCORES, SCORES.sum()) == 0.4
    scores = np.random.default_rng(2).random(500)
    threshold = best_threshold(scores, scores, scores.sum())
    kept = scores >= threshold
    f1 = 2 * scores[kept].sum() / (kept.sum() + scores.sum())
    assert scores[scores >= f1 / 2].min() == threshold


def test_of_equal_f1_the_higher_threshold_is_chosen() -> None:
    # 2 * 1 / (1 + 2) after one label, 2 * 2 / (4 + 2) after four.
    assert best_threshold(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 0, 1]), 2) == 0.9
