"""Class shares learnt from scores: clear boxes decide for doubtful ones."""

from __future__ import annotations

import torch
from known_evidence import KnownEvidence

from lat.labelling.class_prior import ClassPrior
from lat.labelling.class_shares import counted
from lat.labelling.learnt_shares import learn_from_scores, shares_of_scores


def mixed(clear: int, doubtful: int, label: int) -> torch.Tensor:
    """Scores of boxes that are all of one target class: some clear, some that the picture does not tell."""
    sure, unsure = [0.02, 0.02, 0.01], [0.6, 0.39, 0.01]  # the doubtful ones look rather like class 0
    sure[label] = 0.97
    return torch.tensor([sure] * clear + [unsure] * doubtful)


def learnt_prior(counts: torch.Tensor, scores: torch.Tensor) -> ClassPrior:
    """Of boxes that are all of the first source class."""
    evidence = KnownEvidence(counts_on_target=counts)
    new = learn_from_scores(evidence, scores, torch.zeros(len(scores), dtype=torch.int64))
    assert new.found_by == "learnt"
    return ClassPrior.of_learnt_shares(new, counted(evidence))


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


def test_none_and_pairs_that_were_never_seen_are_left_to_the_model() -> None:
    counts = torch.tensor([[98.0, 1.0, 30.0], [0.0, 0.0, 0.0]])
    prior = learnt_prior(counts, mixed(50, 0, 0))
    assert prior.factors[0, 1:].tolist() == [1.0, 1.0]
    assert torch.isfinite(prior.factors).all()
    assert prior.factors[1].isfinite().all()


def test_without_any_count_the_learnt_prior_says_nothing() -> None:
    assert (learnt_prior(torch.zeros(2, 3), mixed(50, 0, 0)).factors == 1).all()


def test_shares_of_scores_are_their_means_with_five_boxes_of_equal_shares() -> None:
    scores = torch.tensor([[0.6, 0.3, 0.1]] * 5 + [[0.0, 0.0, 1.0]] * 5)
    shares = shares_of_scores(KnownEvidence(), scores, torch.zeros(10, dtype=torch.int64)).shares
    # 3, 1.5 and 5.5 boxes, and 5/3 of each: of 15
    torch.testing.assert_close(shares, torch.tensor([[14 / 45, 9.5 / 45, 21.5 / 45], [1 / 3, 1 / 3, 1 / 3]]))
