"""Laws of shards done by workers on this machine: each once and whole; errors and Ctrl-C arrive where the work was asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from counted_job import CountedJob, Killed

from lat.core.errors import InputError
from lat.engine.jobs import missing_shards
from lat.engine.local_workers import LocalWorkers
from lat.engine.outcome import WorkerEndedError, WorkerError

WORKERS = LocalWorkers(2, worth_images=1)


def run(job: CountedJob, executor: LocalWorkers = WORKERS) -> None:
    executor.run(job, partial(CountedJob, job.folder, job.sizes, job.bad, job.seconds))


def test_workers_do_each_missing_shard_once_and_the_largest_first(tmp_path: Path) -> None:
    job = CountedJob(tmp_path, [1, 5, 3, 4, 2], seconds=dict.fromkeys(range(5), 0.05))
    job.run(2)
    run(job)
    (_, here), *rest = job.done_by()
    assert sorted(shard for shard, _ in rest) == [0, 1, 3, 4]
    assert here == os.getpid()
    assert here not in {process for _, process in rest}
    for worker in {process for _, process in rest}:
        sizes = [job.sizes[shard] for shard, process in rest if process == worker]
        assert sizes == sorted(sizes, reverse=True)
    assert missing_shards(job) == []


@pytest.mark.parametrize("executor", [LocalWorkers(4, worth_images=100), LocalWorkers(1, worth_images=1), LocalWorkers(0)])
def test_little_work_and_a_single_core_stay_in_this_process(executor: LocalWorkers, tmp_path: Path) -> None:
    job = CountedJob(tmp_path, [33] * 3)
    run(job, executor)
    assert job.done_by() == [(shard, os.getpid()) for shard in range(3)]


def test_wrong_input_arrives_as_it_was_raised_and_ends_the_work(tmp_path: Path) -> None:
    job = CountedJob(tmp_path, [9, *[1] * 300], bad=frozenset({0}), seconds=dict.fromkeys(range(1, 301), 0.1))
    with pytest.raises(InputError, match=r"^shard 0: is bad; mend it$"):
        run(job)
    left = missing_shards(job)
    assert 0 in left
    assert len(left) > 1  # another worker may have begun before
    job.bad, job.seconds = frozenset(), {}
    run(job)
    assert missing_shards(job) == []


def test_another_error_arrives_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"(?s)counted_job\.py.*FileNotFoundError"):
        run(CountedJob(tmp_path / "nowhere", [1, 1]))


def test_a_worker_that_is_killed_is_named_with_its_shard(tmp_path: Path) -> None:
    with pytest.raises(WorkerEndedError, match=r"^count: a process that did shard \d was killed, .* the same command continues"):
        LocalWorkers(2, worth_images=1).run(CountedJob(tmp_path, [1, 1]), partial(Killed, tmp_path, [1, 1]))


def test_ctrl_c_ends_the_workers_and_keeps_what_was_done(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from functools import partial; from counted_job import CountedJob\n"
        "from lat.engine.local_workers import LocalWorkers\n"
        f"recipe = partial(CountedJob, Path({str(tmp_path)!r}), [3, 2, 1, 1], seconds={{1: 120, 2: 120, 3: 120}})\n"
        "LocalWorkers(2, worth_images=1).run(recipe(), recipe)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell start with it ignored
    )
    job, deadline = CountedJob(tmp_path, [3, 2, 1, 1]), time.monotonic() + 60
    while not job.is_done(0) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=90)  # a shard takes longer
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1
    with pytest.raises(ProcessLookupError):  # nobody of its group is left
        os.killpg(process.pid, 0)
    assert missing_shards(job) == [1, 2, 3]
