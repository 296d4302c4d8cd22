"""Laws of the relation prior."""

from __future__ import annotations

import pytest
import torch
from tables import row, table

from lat.core.label_space import LabelSpace
from lat.labelling.class_prior import RelationPrior, count_relations, expected_shares, learn_shares

SOURCE = LabelSpace.from_names("source", ["van", "dog"])
TARGET = LabelSpace.from_names("target", ["bus", "truck"])


def test_counts_worked_out_by_hand() -> None:
    detected = table(
        [row(0, 0, (0, 0, 10, 10)), row(0, 0, (20, 20, 30, 30)), row(0, 1, (50, 50, 60, 60)), row(1, 1, (0, 0, 10, 10))],
        space=SOURCE,
    )
    ground_truth = table([row(0, 1, (0, 0, 10, 9)), row(0, 0, (20, 20, 30, 24)), row(1, 0, (0, 0, 10, 10))], space=TARGET)
    # the first lies on the truck (IoU 0.9), the second overlaps the bus by 0.4 only, one dog lies on nothing, one on a bus
    assert count_relations(detected, ground_truth).tolist() == [[0, 1, 1], [1, 0, 1]]


def test_counts_without_boxes() -> None:
    nothing, none = table([], space=SOURCE), table([], space=TARGET)
    assert count_relations(nothing, none).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert count_relations(table([row(0, 1, (0, 0, 10, 10))], space=SOURCE), none).tolist() == [[0, 0, 0], [0, 0, 1]]


def test_a_prior_multiplies_and_each_row_sums_to_one() -> None:
    factors = torch.tensor([[2.0, 0.5, 1.0], [1.0, 1.0, 1.0]])
    prior = RelationPrior(factors, torch.full((2, 3), 1 / 3))
    scores = torch.tensor([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])
    weighed = prior.applied(scores, torch.tensor([0, 1]))
    torch.testing.assert_close(weighed, torch.tensor([[0.8 / 1.2, 0.2 / 1.2, 0.2 / 1.2], [0.4, 0.4, 0.2]]))
    assert (
        RelationPrior(torch.ones(2, 3), torch.full((2, 3), 1 / 3)).applied(scores, torch.tensor([0, 1])) - scores
    ).abs().max() < 1e-6


def mixed(clear: int, doubtful: int, label: int) -> torch.Tensor:
    """Scores of boxes that are all of one target class: some clear, some that the picture does not tell."""
    sure, unsure = [0.02, 0.02, 0.01], [0.6, 0.39, 0.01]  # the doubtful ones look rather like class 0
    sure[label] = 0.97
    return torch.tensor([sure] * clear + [unsure] * doubtful)


def learnt_prior(counts: torch.Tensor, scores: torch.Tensor) -> RelationPrior:
    """Of boxes that are all of the first source class."""
    new = learn_shares(counts, scores, torch.zeros(len(scores), dtype=torch.int64))
    return RelationPrior.learnt(new, expected_shares(counts))


def test_clear_boxes_decide_for_doubtful_ones() -> None:
    counts = torch.tensor([[60.0, 40.0, 0.0], [0.0, 0.0, 5.0]])  # the source's detector takes both for a van
    scores = mixed(clear=60, doubtful=40, label=1)
    prior = learnt_prior(counts, scores)
    assert prior.factors[0, 1] > 1 > prior.factors[0, 0]
    weighed = prior.applied(scores, torch.zeros(100, dtype=torch.int64))
    assert scores[-1].argmax() == 0
    assert weighed[-1].argmax() == 1


def test_a_class_that_becomes_two_stays_two() -> None:
    counts = torch.tensor([[90.0, 10.0, 0.0], [0.0, 0.0, 1.0]])
    scores = torch.cat([mixed(90, 0, 0), mixed(10, 0, 1)])
    weighed = learnt_prior(counts, scores).applied(scores, torch.zeros(100, dtype=torch.int64))
    assert weighed.argmax(dim=1).tolist() == [0] * 90 + [1] * 10  # what is possible, not what is frequent


def test_background_and_unseen_relations_are_left_to_the_model() -> None:
    counts = torch.tensor([[98.0, 1.0, 30.0], [0.0, 0.0, 0.0]])
    prior = learnt_prior(counts, mixed(50, 0, 0))
    assert prior.factors[0, 1:].tolist() == [1.0, 1.0]
    assert torch.isfinite(prior.factors).all()
    assert prior.factors[1].isfinite().all()


def test_without_any_count_the_learnt_prior_says_nothing() -> None:
    assert (learnt_prior(torch.zeros(2, 3), mixed(50, 0, 0)).factors == 1).all()


def test_shares_of_counts_by_hand() -> None:
    # all classes: 6, 2, 2 of 10; a class with counts adds one box of that mixture, one without has the mixture itself
    shares = expected_shares(torch.tensor([[6.0, 2.0, 2.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(shares, torch.tensor([[6.6 / 11, 2.2 / 11, 2.2 / 11], [0.6, 0.2, 0.2]]))
    torch.testing.assert_close(expected_shares(torch.zeros(1, 2)), torch.tensor([[0.5, 0.5]]))


def test_factors_are_new_share_by_old_share_no_share_below_the_floor() -> None:
    new, old = torch.tensor([[0.9, 0.0, 0.1], [0.0, 0.0, 1.0]]), torch.tensor([[0.6, 0.3, 0.1], [0.01, 0.5, 0.49]])
    prior = RelationPrior.of_shares(new, old, floor=0.03)
    torch.testing.assert_close(prior.factors, torch.tensor([[1.5, 0.1, 1.0], [1.0, 0.06, 1.0]]))
    assert torch.equal(prior.shares, new)
    assert RelationPrior.of_shares(new, old, floor=0.0).factors[1, 1] == pytest.approx(2e-6)


def test_a_veto_forbids_what_is_rarer_and_never_background() -> None:
    shares = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.05, 0.95]])
    prior = RelationPrior(torch.ones(2, 3), shares)
    assert prior.vetoing(0.0).factors.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert prior.vetoing(0.1).factors.tolist() == [[1, 1, 1], [0, 0, 1]]
    # the second box can be nothing of the target: what the model took for a class is background
    weighed = prior.vetoing(0.1).applied(torch.tensor([[0.2, 0.6, 0.2], [0.5, 0.3, 0.2]]), torch.tensor([0, 1]))
    torch.testing.assert_close(weighed, torch.tensor([[0.2, 0.6, 0.2], [0.0, 0.0, 1.0]]))


def test_a_person_gives_a_known_object_the_class_that_can_be_it() -> None:
    prior = RelationPrior(torch.ones(2, 3), torch.tensor([[0.9, 0.0, 0.1], [0.2, 0.7, 0.1]]))
    scores = torch.tensor([[0.6, 0.4], [0.6, 0.4], [0.1, 0.9]])
    # a bus: 0.6 * 0.9 against 0.4 * 0.2; a truck is no van; a bus again: 0.1 * 0.9 against 0.9 * 0.2
    assert prior.source_classes(scores, torch.tensor([0, 1, 0])).tolist() == [0, 1, 1]


def test_where_no_class_can_be_it_the_detector_decides() -> None:
    prior = RelationPrior(torch.ones(2, 3), torch.zeros(2, 3))
    assert prior.source_classes(torch.tensor([[0.3, 0.7]]), torch.tensor([1])).tolist() == [1]


def test_a_box_without_a_label_keeps_its_best_class_of_a_sufficient_share() -> None:
    prior = RelationPrior(torch.ones(2, 3), torch.tensor([[0.1, 0.8, 0.1], [0.5, 0.5, 0.0]]))
    scores = torch.tensor([[0.20, 0.05], [0.10, 0.15], [0.05, 0.04], [0.40, 0.03], [0.25, 0.2]])
    support, classes = torch.tensor([0, 0, 2, 2, -1]), torch.tensor([0, -1, 1, -1, -1])
    kept = prior.supported(scores, support, classes, threshold=0.3, least_share=0.5)
    # on box 0 (a van, which is a truck at least half the time) nothing reaches 0.3: its best truck stays, of a detection on it;
    # on box 2 the detection reaches it; the last proposal lies on no box
    assert kept.nonzero().tolist() == [[1, 1]]
    assert not prior.supported(scores, support, classes, threshold=0.3, least_share=0.9).any()
    assert not prior.supported(torch.zeros(5, 2), support, classes, threshold=0.3, least_share=0.5).any()
    assert prior.supported(scores[:0], support[:0], classes[:0], 0.3, 0.5).shape == (0, 2)
