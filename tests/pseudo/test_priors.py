"""Laws of the relation prior."""

from __future__ import annotations

import torch

from lat.label_space import LabelSpace
from lat.pseudo.priors import RelationPrior, count_relations, fit_relation_prior
from lat.structures import LabeledBoxes

SOURCE = LabelSpace.from_names("source", ["van", "dog"])
TARGET = LabelSpace.from_names("target", ["bus", "truck"])


def test_counts_of_an_image_worked_out_by_hand() -> None:
    detected = LabeledBoxes(torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]]), torch.tensor([0, 0, 1]), SOURCE)
    ground_truth = LabeledBoxes(torch.tensor([[0.0, 0, 10, 9], [20, 20, 30, 24]]), torch.tensor([1, 0]), TARGET)
    # the first lies on the truck (IoU 0.9), the second overlaps the bus by 0.4 only, the dog lies on nothing
    assert count_relations(detected, ground_truth).tolist() == [[0, 1, 1], [0, 0, 1]]


def test_counts_without_boxes() -> None:
    nothing, none = LabeledBoxes.empty(SOURCE), LabeledBoxes.empty(TARGET)
    assert count_relations(nothing, none).tolist() == [[0, 0, 0], [0, 0, 0]]
    one = LabeledBoxes(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([1]), SOURCE)
    assert count_relations(one, none).tolist() == [[0, 0, 0], [0, 0, 1]]


def test_a_prior_multiplies_and_each_row_sums_to_one() -> None:
    prior = RelationPrior(torch.tensor([[2.0, 0.5, 1.0], [1.0, 1.0, 1.0]]))
    scores = torch.tensor([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])
    weighed = prior.applied(scores, torch.tensor([0, 1]))
    torch.testing.assert_close(weighed, torch.tensor([[0.8 / 1.2, 0.2 / 1.2, 0.2 / 1.2], [0.4, 0.4, 0.2]]))
    assert (RelationPrior.flat(2, 2).applied(scores, torch.tensor([0, 1])) - scores).abs().max() < 1e-6


def mixed(clear: int, doubtful: int, label: int) -> torch.Tensor:
    """Scores of boxes that are all of one target class: some clear, some that the picture does not tell."""
    sure, unsure = [0.02, 0.02, 0.01], [0.6, 0.39, 0.01]  # the doubtful ones look rather like class 0
    sure[label] = 0.97
    return torch.tensor([sure] * clear + [unsure] * doubtful)


def test_clear_boxes_decide_for_doubtful_ones() -> None:
    counts = torch.tensor([[60.0, 40.0, 0.0], [0.0, 0.0, 5.0]])  # the source's detector takes both for a van
    scores = mixed(clear=60, doubtful=40, label=1)
    prior = fit_relation_prior(counts, scores, torch.zeros(100, dtype=torch.int64))
    assert prior.factors[0, 1] > 1 > prior.factors[0, 0]
    weighed = prior.applied(scores, torch.zeros(100, dtype=torch.int64))
    assert scores[-1].argmax() == 0
    assert weighed[-1].argmax() == 1


def test_a_class_that_becomes_two_stays_two() -> None:
    counts = torch.tensor([[90.0, 10.0, 0.0], [0.0, 0.0, 1.0]])
    scores = torch.cat([mixed(90, 0, 0), mixed(10, 0, 1)])
    weighed = fit_relation_prior(counts, scores, torch.zeros(100, dtype=torch.int64)).applied(
        scores, torch.zeros(100, dtype=torch.int64)
    )
    assert weighed.argmax(dim=1).tolist() == [0] * 90 + [1] * 10  # what is possible, not what is frequent


def test_background_and_unseen_relations_are_left_to_the_model() -> None:
    counts = torch.tensor([[98.0, 1.0, 30.0], [0.0, 0.0, 0.0]])
    prior = fit_relation_prior(counts, mixed(50, 0, 0), torch.zeros(50, dtype=torch.int64))
    assert prior.factors[0, 1:].tolist() == [1.0, 1.0]
    assert torch.isfinite(prior.factors).all()
    assert prior.factors[1].isfinite().all()
