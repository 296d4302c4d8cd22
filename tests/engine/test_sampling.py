import hashlib
import json
from collections import Counter

import pytest
import torch

from lat.engine.sampling import Group, Reserved, StepSampler, derive_seed


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


@pytest.mark.parametrize(
    ("sizes", "power", "draws"),
    [
        ([40, 360], 1.0, [40, 360]),
        ([40, 360], 0.5, [100, 300]),  # roots 1 : 3
        ([40, 360], 0.0, [200, 200]),
        ([1, 1, 8], 0.0, [4, 3, 3]),  # a third of ten each
        ([0, 3, 1], 0.0, [2, 2]),
    ],
)
def test_draws_are_in_proportion_to_a_power_of_the_size_and_as_many_as_there_are_items(sizes, power, draws):
    groups = Group.by_power(sizes, power)
    assert [group.draws for group in groups] == draws
    assert [group.items for group in groups] == [size for size in sizes if size]


def test_an_epoch_has_the_draws_of_each_group_and_its_items_come_equally_often():
    groups = (Group(3, 8), Group(17, 12))
    stream = [draw.item_index for batch in StepSampler(groups, 4, seed=2, steps=range(17 * 3 * 5)) for draw in batch]
    epochs = [stream[i : i + 20] for i in range(0, len(stream), 20)]
    assert len(epochs) == 17 * 3
    for epoch in epochs:
        assert sum(index < 3 for index in epoch) == 8
        assert min(Counter(index for index in epoch if index < 3).values()) == 2  # 8 of 3: twice each, and two more
    counts = Counter(stream)
    assert {counts[i] for i in range(3)} == {17 * 8}
    assert {counts[i] for i in range(3, 20)} == {3 * 12}
    assert len({index for epoch in epochs[:2] for index in epoch}) == 20, (
        "the second epoch begins with those left out by the first"
    )


def test_draws_of_groups_are_shared_out_and_a_step_does_not_depend_on_the_steps_before():
    groups = Group.by_power([2, 9, 30], 0.5)
    whole = list(StepSampler(groups, 8, seed=1, steps=range(40)))
    assert list(StepSampler(groups, 8, seed=1, steps=range(23, 40))) == whole[23:]
    ranks = [StepSampler(groups, 8, seed=1, steps=range(40), process=(rank, 4)) for rank in range(4)]
    assert [[draw for sampler in ranks for draw in sampler.batch(step)] for step in range(40)] == whole


def test_at_power_1_groups_change_nothing():
    plain = list(StepSampler(45, 8, seed=4, steps=range(60)))
    assert list(StepSampler(Group.by_power([5, 30, 10], 1.0), 8, seed=4, steps=range(60))) == plain
    # trainings of earlier versions stay the same: what the sampler drew before there were groups
    digest = hashlib.sha256(json.dumps(plain).encode()).hexdigest()
    assert digest == "347e1090341413a4dd44591f3699ccaf1ea6b7ffa566bfa8aa24c875c4d613d6"
