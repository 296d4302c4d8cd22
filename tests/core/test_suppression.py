"""Laws of non-maximum suppression over many groups at once, against the same done pair by pair."""

from __future__ import annotations

import pytest
import torch

from lat.core.selection import rows_where
from lat.core.suppression import Suppression, Survivors, count_pairs, order_by_image, pairs_in_groups, settle


def test_rows_of_a_mask_are_found_when_their_number_is_known() -> None:
    generator = torch.Generator().manual_seed(0)
    for count in (0, 1, 7, 100):
        mask = torch.rand(count, generator=generator) < 0.4
        assert torch.equal(rows_where(mask, int(mask.sum())), mask.nonzero().flatten())


def test_each_pair_of_a_group_is_listed_once() -> None:
    group = torch.tensor([2, 0, 2, 5, 0, 2])
    sizes = torch.tensor([2, 3, 1])
    order, first, second = pairs_in_groups(group, int(count_pairs(sizes)))
    assert order.tolist() == [1, 4, 0, 2, 5, 3]
    assert list(zip(order[first].tolist(), order[second].tolist(), strict=True)) == [(1, 4), (0, 2), (0, 5), (2, 5)]


def by_hand(better: torch.Tensor, other: torch.Tensor, suppresses: torch.Tensor, ranks: torch.Tensor) -> list[int]:
    """What remains if candidates are asked in the order of their ranks."""
    gone: set[int] = set()
    for candidate in ranks.argsort().tolist():
        if candidate not in gone:
            gone |= set(other[suppresses & (better == candidate)].tolist())
    return [candidate for candidate in range(len(ranks)) if candidate not in gone]


@pytest.mark.parametrize("seed", range(5))
def test_what_a_suppressed_candidate_would_suppress_stays(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    count = 40
    ranks = torch.randperm(count, generator=generator)
    one, two = torch.combinations(torch.arange(count)).unbind(1)
    better, other = torch.where(ranks[one] < ranks[two], one, two), torch.where(ranks[one] < ranks[two], two, one)
    suppresses = torch.rand(len(one), generator=generator) < 0.1
    images, scores = torch.zeros(count, dtype=torch.int64), -ranks.float()
    contest = Survivors(
        Suppression(better, other, suppresses, torch.ones(count, dtype=torch.bool)), order_by_image(images, scores), images, count
    )
    settle([contest])
    assert sorted(contest.best().tolist()) == by_hand(better, other, suppresses, ranks)


def test_a_chain_longer_than_one_round_of_passes_is_settled() -> None:
    count = 50
    better, other = torch.arange(count - 1), torch.arange(1, count)  # each suppresses the next, so every second one stays
    images, scores = torch.zeros(count, dtype=torch.int64), -torch.arange(count).float()
    alive = torch.ones(count, dtype=torch.bool)
    contest = Survivors(
        Suppression(better, other, torch.ones(count - 1, dtype=torch.bool), alive), order_by_image(images, scores), images, count
    )
    settle([contest])
    assert contest.best().tolist() == list(range(0, count, 2))


def test_the_best_of_each_image_are_kept_and_those_without_a_part_are_left_out() -> None:
    images, scores = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0.1, 0.9, 0.5, 0.3, 0.8])
    none = torch.zeros(0, dtype=torch.int64)
    alive = torch.tensor([True, True, True, True, False])
    contest = Survivors(Suppression(none, none, none.bool(), alive), order_by_image(images, scores), images, 2)
    settle([contest])
    assert contest.best().tolist() == [1, 2, 3]
