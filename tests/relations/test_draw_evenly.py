"""Which samples are kept where not all fit."""

from __future__ import annotations

import torch

from lat.relations.samples import draw_evenly

LABELS = torch.tensor([0] * 5 + [2] * 100 + [3] * 1000)[torch.randperm(1105, generator=torch.Generator().manual_seed(0))]


def counts(most: int, seed: int = 0) -> list[int]:
    return torch.bincount(LABELS[draw_evenly(LABELS, most, seed)], minlength=4).tolist()


def test_all_are_kept_where_they_fit() -> None:
    assert draw_evenly(LABELS, 1105, 0).all()


def test_frequent_classes_share_what_rare_ones_leave() -> None:
    assert counts(60) == [5, 0, 27, 27]  # 5 + 27 + 27 = 59, and 28 each would be 61
    assert counts(300) == [5, 0, 100, 195]
    assert counts(9) == [3, 0, 3, 3]
    assert counts(1) == [2, 0, 2, 2]  # fewer tell nothing


def test_the_draw_follows_the_seed() -> None:
    first, again, other = (draw_evenly(LABELS, 300, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
