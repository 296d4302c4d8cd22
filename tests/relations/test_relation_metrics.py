"""Metrics of relations, worked by hand."""

from __future__ import annotations

import pytest
import torch

from lat.relations.metrics import average_precision, graph_edit_distance, shared_accuracy
from lat.relations.taxonomies import CUSTOM_FIRST, CUSTOM_SECOND, true_relations

TRUTH = torch.tensor([[1, 0], [1, 0]], dtype=torch.bool)


def test_average_precision_by_hand() -> None:
    # Ranked: true (0.9), false (0.5), true (0.2): (1/1 + 2/3) / 2. The corner's score counts for nothing.
    scores = torch.tensor([[0.9, 0.5], [0.2, 1.0]])
    assert average_precision(scores, TRUTH) == pytest.approx((1 + 2 / 3) / 2)


def test_candidates_of_one_score_are_taken_together() -> None:
    # All three alike: precision 2/3 at full recall, in whatever order they stand.
    assert average_precision(torch.full((2, 2), 0.5), TRUTH) == pytest.approx(2 / 3)


def test_true_relations_are_perfect() -> None:
    truth = true_relations(CUSTOM_FIRST, CUSTOM_SECOND)
    assert truth.edges is not None
    assert average_precision(truth.scores, truth.edges) == 1.0
    assert graph_edit_distance(truth.edges, truth.edges) == 0


def test_edit_distance_counts_additions_and_deletions() -> None:
    found = torch.tensor([[0, 1], [1, 0]], dtype=torch.bool)
    assert graph_edit_distance(found, TRUTH) == 2


def test_accuracy_needs_both_classes_right() -> None:
    truth = torch.tensor([[0, 1], [2, -1], [1, 1], [0, 0]])
    predicted = torch.tensor([[0, 1], [2, -1], [1, 0], [1, 0]])
    assert shared_accuracy(predicted, truth) == 0.5
