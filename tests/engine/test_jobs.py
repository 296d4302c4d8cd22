"""Laws of work in shards: every shard is done once, whole, by somebody, whatever stopped before."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch.distributed as dist
from counted_job import CountedJob

from lat.core.errors import InputError
from lat.engine.claims import Claims
from lat.engine.executors import Local, Share, ShareIsDone
from lat.engine.jobs import MAX_SHARDS, MIN_BATCHES, in_shards, missing_shards


@pytest.mark.parametrize("count", [0, 1, 4, 5, 1023, 1024, 1025, 5000])
def test_shards_are_whole_batches_in_order_and_few(count: int) -> None:
    batches = [range(4 * i, 4 * i + 4) for i in range(count)]
    shards = in_shards(batches)
    assert [batch for shard in shards for batch in shard] == batches
    assert len(shards) <= MAX_SHARDS
    sizes = [len(shard) for shard in shards]
    assert all(size >= MIN_BATCHES for size in sizes[:-1])
    assert len(set(sizes[:-1])) <= 1
    assert sizes == sorted(sizes, reverse=True)


def test_only_what_is_missing_is_done(tmp_path: Path) -> None:
    job = CountedJob(tmp_path, [4, 4, 4, 1])
    job.run(2)
    assert missing_shards(job) == [0, 1, 3]
    Local().run(job, lambda: job)
    assert [shard for shard, _ in job.done_by()] == [2, 0, 1, 3]
    Local().run(job, lambda: job)
    assert len(job.done_by()) == 4


def test_what_was_done_before_an_error_stays(tmp_path: Path) -> None:
    job = CountedJob(tmp_path, [1] * 5, bad=frozenset({3}))
    with pytest.raises(InputError, match="shard 3"):
        Local().run(job, lambda: job)
    assert missing_shards(job) == [3, 4]


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_shares_together_are_all_and_none_goes_on_alone(parts: int, tmp_path: Path) -> None:
    job = CountedJob(tmp_path, [2] * 7)
    for part in reversed(range(parts)):
        with pytest.raises(ShareIsDone):
            Share(part, parts).run(job, lambda: job)
    assert sorted(shard for shard, _ in job.done_by()) == list(range(7))


def test_a_preparation_is_done_whole_by_whoever_comes_first(tmp_path: Path) -> None:
    job = CountedJob(tmp_path, [2] * 7, is_preparation=True)
    for part in (1, 0):
        Share(part, 3).run(job, lambda: job)
    assert [shard for shard, _ in job.done_by()] == [1, 4, 2, 5, 0, 3, 6]


def test_each_item_is_claimed_once_and_units_are_counted_once() -> None:
    store = dist.HashStore()

    def work(_: int) -> tuple[list[int], int]:
        claims = Claims(store, "1", 50)
        found, seen = [], 0
        for item in claims:
            found.append(item)
            seen += claims.advance(3)
        return found, seen

    with ThreadPoolExecutor(4) as threads:
        found, seen = zip(*threads.map(work, range(4)), strict=True)
    assert sorted(item for items in found for item in items) == list(range(50))
    assert max(seen) == 150  # who came last has seen all units of all
    assert list(Claims(store, "2", 2)) == [0, 1]  # another job begins anew


def test_after_a_stop_nothing_more_is_claimed() -> None:
    store = dist.HashStore()
    first, second = Claims(store, "1", 9), Claims(store, "1", 9)
    assert next(iter(first)) == 0
    first.stop()
    assert list(second) == []
