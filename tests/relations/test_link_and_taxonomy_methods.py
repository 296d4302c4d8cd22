"""Missing Link and AUT: their steps, worked by hand."""

from __future__ import annotations

import torch
from factories import label_space

from lat.relations.aut import co_occurrence, prune_contradictions, strongest
from lat.relations.missing_link import open_set_probabilities
from lat.relations.samples import LabeledSamples


def test_open_set_moves_doubt_to_the_rest_of_the_world() -> None:
    found = open_set_probabilities(torch.tensor([[0.8, 0.2], [0.5, 0.5]]))
    torch.testing.assert_close(found, torch.tensor([[0.64, 0.16, 0.2], [0.25, 0.25, 0.5]]))
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2))


def test_co_occurrence_counts_predictions_of_each_class() -> None:
    samples = LabeledSamples(torch.zeros(4, 1), torch.tensor([0, 0, 1, 1]), label_space("a", ("x", "y")))
    logits = torch.tensor([[9.0, 0, 0], [0, 9.0, 0], [9.0, 0, 0], [0.1, 0.1, 0.1]])
    # The last sample's largest probability is 1/3: the rest of the world.
    assert co_occurrence(samples, logits).tolist() == [[0.5, 0.5, 0.0, 0.0], [0.5, 0.0, 0.0, 0.5]]


def test_only_strong_connections_are_kept() -> None:
    shares = torch.tensor([[0.6, 0.4, 0.0], [0.4, 0.3, 0.3], [0.1, 0.1, 0.8]])
    torch.testing.assert_close(strongest(shares), torch.tensor([[0.6, 0.0], [0.0, 0.0], [0.0, 0.0]]))


def test_the_weaker_of_two_contradicting_connections_goes() -> None:
    # a0 is a b0 (0.9), b0 is an a1 (0.7): a0 would be an a1. Without the first, the second stays.
    forward, backward = torch.tensor([[0.9], [0.0]]), torch.tensor([[0.0, 0.7]])
    assert prune_contradictions(forward, backward).tolist() == [[True], [False]]
    assert prune_contradictions(0 * forward, backward).tolist() == [[False], [True]]


def test_equal_classes_do_not_contradict_each_other() -> None:
    assert prune_contradictions(torch.tensor([[0.9]]), torch.tensor([[0.8]])).tolist() == [[True]]
    # Two kinds of one broad class: both stay.
    assert prune_contradictions(torch.tensor([[0.9], [0.8]]), torch.zeros(1, 2)).tolist() == [[True], [True]]
