"""Laws of the class prior; numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from known_evidence import class_shares

from lat.labelling.class_prior import ClassPrior
from lat.labelling.class_shares import ClassShares

THIRDS = class_shares([1 / 3] * 3, [1 / 3] * 3)


def flat_prior(shares: ClassShares) -> ClassPrior:
    """A prior of these shares that changes no score."""
    return ClassPrior(torch.ones(2, 3), shares)


def test_a_prior_multiplies_and_each_row_sums_to_one() -> None:
    factors = torch.tensor([[2.0, 0.5, 1.0], [1.0, 1.0, 1.0]])
    prior = ClassPrior(factors, THIRDS)
    scores = torch.tensor([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])
    weighed = prior.applied(scores, torch.tensor([0, 1]))
    torch.testing.assert_close(weighed, torch.tensor([[0.8 / 1.2, 0.2 / 1.2, 0.2 / 1.2], [0.4, 0.4, 0.2]]))
    assert (flat_prior(THIRDS).applied(scores, torch.tensor([0, 1])) - scores).abs().max() < 1e-6


def test_factors_are_new_share_by_old_share_no_share_below_the_floor() -> None:
    new, old = class_shares([0.9, 0.0, 0.1], [0.0, 0.0, 1.0]), class_shares([0.6, 0.3, 0.1], [0.01, 0.5, 0.49])
    prior = ClassPrior.of_shares(new, old, floor=0.03)
    torch.testing.assert_close(prior.factors, torch.tensor([[1.5, 0.1, 1.0], [1.0, 0.06, 1.0]]))
    assert prior.shares is new
    assert ClassPrior.of_shares(new, old, floor=0.0).factors[1, 1] == pytest.approx(2e-6)


def test_a_veto_forbids_what_is_rarer_and_never_none() -> None:
    prior = flat_prior(class_shares([0.9, 0.1, 0.0], [0.0, 0.05, 0.95]))
    assert prior.vetoing(0.0).factors.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert prior.vetoing(0.1).factors.tolist() == [[1, 1, 1], [0, 0, 1]]
    # the second box can be nothing of the target: what the model took for a class is background
    weighed = prior.vetoing(0.1).applied(torch.tensor([[0.2, 0.6, 0.2], [0.5, 0.3, 0.2]]), torch.tensor([0, 1]))
    torch.testing.assert_close(weighed, torch.tensor([[0.2, 0.6, 0.2], [0.0, 0.0, 1.0]]))


def test_an_annotator_gives_a_known_object_the_class_that_can_be_it() -> None:
    prior = flat_prior(class_shares([0.9, 0.0, 0.1], [0.2, 0.7, 0.1]))
    scores = torch.tensor([[0.6, 0.4], [0.6, 0.4], [0.1, 0.9]])
    # a bus: 0.6 * 0.9 against 0.4 * 0.2; a truck is no van; a bus again: 0.1 * 0.9 against 0.9 * 0.2
    assert prior.source_classes(scores, torch.tensor([0, 1, 0])).tolist() == [0, 1, 1]


def test_where_no_class_can_be_it_the_detector_decides() -> None:
    prior = flat_prior(class_shares([0.0] * 3, [0.0] * 3))
    assert prior.source_classes(torch.tensor([[0.3, 0.7]]), torch.tensor([1])).tolist() == [1]


def test_none_weighs_against_the_classes_that_a_class_without_counterpart_might_become() -> None:
    prior = flat_prior(class_shares([0.9, 0.05, 0.05], [0.04, 0.01, 0.95]))
    scored = class_shares([0.5, 0.25, 0.25], [0.8, 0.1, 0.1])
    weighed = prior.weighing_none(torch.tensor([False, True]), scored)
    torch.testing.assert_close(weighed.factors, torch.tensor([[1.0, 1.0, 1.0], [0.05, 0.1, 9.5]]))
    scores = weighed.applied(torch.tensor([[0.9, 0.0, 0.1]] * 2), torch.tensor([0, 1]))
    torch.testing.assert_close(scores, torch.tensor([[0.9, 0.0, 0.1], [0.045 / 0.995, 0.0, 0.95 / 0.995]]), atol=1e-6, rtol=0)


def test_none_weighs_only_where_the_shares_agree_that_most_are_none() -> None:
    known_better = flat_prior(class_shares([0.0, 0.0, 1.0], [0.7, 0.0, 0.3]))  # as a person's table has it
    assert known_better.weighing_none(torch.tensor([False, True]), THIRDS).factors.tolist() == [[1, 1, 1], [1, 1, 1]]
