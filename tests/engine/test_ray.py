"""Work on a Ray cluster of three nodes on one machine: laws of shards and of training, as nodes come and go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from counted_job import CountedJob, Hiding, until
from ray_clusters import RayCluster
from ray_work import train_and_die_once, train_and_tell, train_until_it_is_shown, work_until_it_is_shown

from lat.core.errors import InputError
from lat.core.url_folder import UrlFolder
from lat.engine.jobs import missing_shards
from lat.engine.outcome import WorkerError
from lat.engine.progress import News
from lat.engine.ray_executor import Ray
from lat.engine.ray_progress import SideBySide
from lat.engine.ray_training import train_in_group

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]  # one cluster for all
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def executor(ray_cluster: RayCluster) -> Iterator[Ray]:
    """One for all tests, whose workers stay."""
    started = Ray(1, 0, "cpu")
    yield started
    started.release()


@pytest.fixture(scope="module")
def trained_here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training in this process."""
    folder = tmp_path_factory.mktemp("here")
    train_and_tell(folder)
    return folder


def counted(folder: Path, shards: int, **options: Any) -> CountedJob:
    folder.mkdir(exist_ok=True)
    return CountedJob(folder, [2] * shards, **options)


def run(executor: Ray, job: CountedJob) -> None:
    executor.run(job, partial(CountedJob, **vars(job)))


def processes_of(job: CountedJob, *shards: int) -> set[int]:
    """Those that have done some shards of a job, or any."""
    return {process for shard, process in job.done_by() if not shards or shard in shards}


def is_gone(process: int) -> bool:
    """True if a process on this machine has ended."""
    try:
        return b") Z " in Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return True


def test_every_missing_shard_is_done_once_by_workers_that_stay(ray_cluster: RayCluster, executor: Ray, tmp_path: Path) -> None:
    ray_cluster.have_nodes(3)
    first, second = counted(tmp_path / "first", 9), counted(tmp_path / "second", 9, together=2)
    first.run(4)
    first.together = 3  # from here on workers do it: this process has begun none of these
    run(executor, first)
    run(executor, second)
    assert sorted(shard for shard, _ in first.done_by()) == list(range(9))
    assert sorted(shard for shard, _ in second.done_by()) == list(range(9))
    workers = {process for _, process in first.done_by()[1:]} | processes_of(second)
    assert os.getpid() not in workers
    assert 2 <= len(processes_of(second)) <= len(workers) == 3


def test_wrong_input_arrives_as_it_was_raised_and_other_errors_with_their_traceback(executor: Ray, tmp_path: Path) -> None:
    bad = counted(tmp_path / "bad", 6, bad=frozenset({3}))
    with pytest.raises(InputError, match=r"^shard 3: is bad; mend it$"):
        run(executor, bad)
    missing = CountedJob(tmp_path / "nowhere", [1])
    with pytest.raises(WorkerError, match=r"(?s)counted_job\.py.*FileNotFoundError") as raised:
        run(executor, missing)
    assert str(raised.value).count("Traceback") == 1


def test_files_that_only_workers_see_are_named(executor: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lat.engine.processes.SECONDS_TO_SEE", 0.3)
    job = counted(tmp_path / "job", 2)
    with pytest.raises(InputError, match=r"00000: was written .*; choose an output_dir that all machines share$"):
        executor.run(job, partial(Hiding, job.folder, job.sizes))


def test_a_killed_driver_leaves_only_what_is_missing(ray_cluster: RayCluster, executor: Ray, tmp_path: Path) -> None:
    executor.release()
    job = counted(tmp_path / "job", 12)
    command = [sys.executable, str(HERE / "ray_driver.py"), str(job.folder), "12", "6"]
    environment = {**os.environ, "RAY_ADDRESS": ray_cluster.address}
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: len(missing_shards(job)) <= 9 or driver.poll() is not None)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    there = set(range(12)) - set(missing_shards(job))
    assert 3 <= len(there) <= 6
    run(executor, job)
    assert missing_shards(job) == []
    done = [shard for shard, _ in job.done_by()]
    assert all(done.count(shard) == 1 for shard in there)


def test_a_node_that_dies_costs_the_shards_in_flight(ray_cluster: RayCluster, executor: Ray, tmp_path: Path) -> None:
    ray_cluster.have_nodes(3)
    job = counted(tmp_path / "job", 24, together=3, gates=dict.fromkeys(range(12, 24), "lost"))
    first: set[int] = set()

    def lose_a_node() -> None:
        until(lambda: len(processes_of(job)) == 3)
        first.update(processes_of(job))
        ray_cluster.lose_a_node()
        until(lambda: any(map(is_gone, first)))
        (job.folder / "lost").touch()

    running_beside(lose_a_node, lambda: run(executor, job))
    assert missing_shards(job) == []
    assert len(job.done_by()) <= 24 + 3
    assert len(processes_of(job, *range(12, 24)) & first) < len(first) == 3


def test_a_node_that_joins_is_used(ray_cluster: RayCluster, executor: Ray, tmp_path: Path) -> None:
    there = ray_cluster.size
    short = counted(tmp_path / "short", 6, together=there)
    run(executor, short)
    job = counted(tmp_path / "long", 12, together=there + 1)
    running_beside(lambda: run(executor, job), ray_cluster.add_node)  # nodes are started in the main thread
    assert missing_shards(job) == []
    assert len(processes_of(short)) == there
    assert processes_of(job) > processes_of(short)


def running_beside(act: Callable[[], object], work: Callable[[], object]) -> None:
    """Act in a thread while this one does something, and wait for both."""
    thread = threading.Thread(target=act)
    thread.start()
    work()
    thread.join(150)
    assert not thread.is_alive()


def test_trainings_side_by_side_write_the_same_bytes_though_a_worker_dies(
    executor: Ray, trained_here: Path, tmp_path: Path
) -> None:
    functions = [partial(train_and_tell, tmp_path / "a"), partial(train_and_die_once, tmp_path / "b")]
    assert sorted(executor.do_each(functions, "train")) == [0, 1]
    assert (tmp_path / "b" / "died").exists()
    for name in "ab":
        for file in ("model.pt", "log.jsonl"):
            assert (tmp_path / name / file).read_bytes() == (trained_here / file).read_bytes()


def shown_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[News | int]:
    """What this process will show of workers; from the first on there is a file `shown`."""
    heard, hear = list[News | int](), SideBySide.hear
    folder.mkdir(exist_ok=True)

    def note(side_by_side: SideBySide, number: int, news: News | int) -> None:
        hear(side_by_side, number, news)
        heard.append(news)
        (folder / "shown").touch()

    monkeypatch.setattr(SideBySide, "hear", note)
    return heard


def test_how_far_a_worker_is_is_shown_here(
    executor: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heard = shown_here(tmp_path, monkeypatch)
    assert list(executor.do_each([partial(work_until_it_is_shown, tmp_path)], "train")) == [0]
    assert heard[0] == News("slow", 2, 5, {})
    assert capsys.readouterr().err.splitlines()[0].startswith("slow: 5/5 · 100 %")


def test_a_group_of_ray_train_shares_out_batches_over_machines_and_tells_how_far_it_is(
    ray_cluster: RayCluster, executor: Ray, trained_here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = shown_here(tmp_path / "two", monkeypatch)
    executor.release()
    url = f"{ray_cluster.bucket}/group"
    train_in_group(partial(train_until_it_is_shown, tmp_path / "two", url), str(tmp_path / "ray"), workers=2, gpus=0)
    assert (tmp_path / "two" / "processes").read_text() == "(1, 2) 2"
    here, two = (torch.load(folder / "model.pt")["model"] for folder in (trained_here, tmp_path / "two"))
    for key, tensor in here.items():
        torch.testing.assert_close(two[key], tensor, rtol=0, atol=1e-6)
    assert not (tmp_path / "ray").exists()
    copies = [path.read_bytes() for path in (tmp_path / "two").glob("cache of node *.pt")]  # each machine has a cache of its own
    assert copies == [(tmp_path / "two" / "model.pt").read_bytes()] * 2
    for name, value in ray_cluster.environment.items():
        monkeypatch.setenv(name, value)
    UrlFolder(url, tmp_path / "there").pull()
    there = {path.relative_to(tmp_path / "there").as_posix(): path for path in (tmp_path / "there").rglob("*.*")}
    assert there.keys() == {"line/model.pt", "line/log.jsonl"}
    assert there["line/model.pt"].read_bytes() == copies[0]
    assert {news.title for news in heard if isinstance(news, News)} == {"line"}
