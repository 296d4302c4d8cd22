from collections import Counter

import pytest
import torch

from lat.engine.sampling import Reserved, StepSampler, derive_seed


@pytest.mark.parametrize(("num_items", "batch_size"), [(12, 4), (10, 4), (3, 8), (1, 2)])
def test_every_index_comes_once_an_epoch(num_items, batch_size):
    sampler = StepSampler(num_items, batch_size, seed=0, steps=range(10 * num_items))
    stream = [draw.item_index for batch in sampler for draw in batch]
    assert len(stream) == 10 * num_items * batch_size
    epochs = [stream[i : i + num_items] for i in range(0, len(stream), num_items)]
    assert all(sorted(epoch) == list(range(num_items)) for epoch in epochs)
    if num_items > 3:
        assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_a_step_does_not_depend_on_the_steps_before():
    whole = list(StepSampler(10, 4, seed=5, steps=range(20)))
    assert list(StepSampler(10, 4, seed=5, steps=range(13, 20))) == whole[13:]
    assert StepSampler(10, 4, seed=5, steps=range(20)).batch(13) == whole[13]
    assert len(StepSampler(10, 4, seed=5, steps=range(13, 20))) == 7
    assert list(StepSampler(10, 4, seed=5, steps=range(20, 20))) == []
    assert list(StepSampler(10, 4, seed=6, steps=range(20))) != whole


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_out_the_batch(world_size):
    one = StepSampler(10, 8, seed=1, steps=range(6))
    ranks = [StepSampler(10, 8, seed=1, steps=range(6), process=(rank, world_size)) for rank in range(world_size)]
    for step in range(6):
        shares = [sampler.batch(step) for sampler in ranks]
        assert {len(share) for share in shares} == {8 // world_size}
        assert [draw for share in shares for draw in share] == one.batch(step)


def test_no_two_draws_share_a_seed():
    draws = [draw for batch in StepSampler(10, 4, seed=0, steps=range(50)) for draw in batch]
    assert max(Counter(draw.item_seed for draw in draws).values()) == 1


def test_seeds_differ_for_other_parts_and_fit_a_generator():
    seeds = {derive_seed(*parts) for parts in [(1, 2), (2, 1), (12,), (1, 2, 0), ("a", 1), ("b", 1), (-1, 2)]}
    assert len(seeds) == 7
    assert all(0 <= seed < 2**63 for seed in seeds)
    torch.Generator().manual_seed(2**63 - 1)
    assert derive_seed("step", 0, 1, 0) == derive_seed("step", 0, 1, 0)


@pytest.mark.parametrize(("items", "places", "batch_size"), [(3, 4, 8), (3, 3, 8), (5, 1, 4), (1, 2, 3), (12, 7, 8)])
def test_reserved_places_are_filled_with_the_first_items_and_both_kinds_have_their_own_epochs(items, places, batch_size):
    sampler = StepSampler(20, batch_size, seed=3, reserved=Reserved(items, places), steps=range(60))
    batches = [[draw.item_index for draw in batch] for batch in sampler]
    assert {sum(index < items for index in batch) for batch in batches} == {places}
    assert {len(batch) for batch in batches} == {batch_size}
    stream = [index for batch in batches for index in batch]
    for kind in (range(items), range(items, 20)):
        drawn = [index for index in stream if index in kind]
        epochs = [drawn[i : i + len(kind)] for i in range(0, len(drawn) - len(kind) + 1, len(kind))]
        assert len(epochs) > 1
        assert all(sorted(epoch) == list(kind) for epoch in epochs)


def test_reserved_places_are_shared_out_and_a_step_does_not_depend_on_the_steps_before():
    reserved = Reserved(4, 4)
    whole = list(StepSampler(30, 8, seed=1, reserved=reserved, steps=range(9)))
    assert list(StepSampler(30, 8, seed=1, reserved=reserved, steps=range(6, 9))) == whole[6:]
    ranks = [StepSampler(30, 8, seed=1, reserved=reserved, steps=range(9), process=(rank, 4)) for rank in range(4)]
    for step, batch in enumerate(whole):
        shares = [sampler.batch(step) for sampler in ranks]
        assert [draw for share in shares for draw in share] == batch
        assert [sum(draw.item_index < 4 for draw in share) for share in shares] == [1, 1, 1, 1]


def test_all_places_reserved_for_all_items_is_no_reservation():
    assert list(StepSampler(10, 4, seed=0, reserved=Reserved(10, 4), steps=range(20))) == list(
        StepSampler(10, 4, seed=0, steps=range(20))
    )
    only_first = StepSampler(10, 4, seed=0, reserved=Reserved(3, 4), steps=range(20))
    assert {draw.item_index for batch in only_first for draw in batch} == {0, 1, 2}


@pytest.mark.parametrize("places", [None, 2, 8])
def test_from_a_step_on_batches_are_of_the_first_items_alone(places):
    before = list(StepSampler(20, 8, seed=2, reserved=Reserved(5, places), steps=range(20)))
    sampler = StepSampler(20, 8, seed=2, reserved=Reserved(5, places, alone_from=12), steps=range(20))
    assert list(sampler)[:12] == before[:12]
    stream = [draw.item_index for batch in list(sampler)[12:] for draw in batch]
    assert all(sorted(stream[i : i + 5]) == [0, 1, 2, 3, 4] for i in range(0, 60, 5))
    assert (
        list(StepSampler(20, 8, seed=2, reserved=Reserved(5, places, alone_from=12), steps=range(15, 20))) == list(sampler)[15:]
    )
    ranks = [
        StepSampler(20, 8, seed=2, reserved=Reserved(5, places, alone_from=12), steps=range(20), process=(r, 2)) for r in (0, 1)
    ]
    assert [draw for rank in ranks for draw in rank.batch(13)] == sampler.batch(13)


def test_without_places_of_their_own_the_first_items_are_drawn_like_all_others():
    assert list(StepSampler(10, 4, seed=0, reserved=Reserved(3, None), steps=range(20))) == list(
        StepSampler(10, 4, seed=0, steps=range(20))
    )
