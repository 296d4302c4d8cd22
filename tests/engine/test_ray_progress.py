"""How far workers are, as the process that started them shows it, without a cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lat.engine import ray_progress
from lat.engine.progress import News, track
from lat.engine.ray_progress import CountedShards, Notes, SideBySide, Teller


def news_of(title: str, done: int, total: int = 100, **figures: float | str) -> News:
    return News(title, done, total, figures)


def test_notes_are_the_latest_of_each_shard_and_are_taken_once() -> None:
    notes = Notes()
    for job, number, done in ((1, 0, 3), (1, 4, 5), (1, 0, 7), (2, 0, 9)):
        notes.put(job, number, done)
    assert notes.take() == {(1, 0): 7, (1, 4): 5, (2, 0): 9}
    assert notes.take() == {}


def test_images_are_told_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, put = [10.0], list[tuple[Any, ...]]()
    monkeypatch.setattr(ray_progress.time, "monotonic", lambda: now[0])
    teller = Teller(SimpleNamespace(put=SimpleNamespace(remote=lambda *told: put.append(told))), 3, 7)
    for _ in range(9):
        teller.count(2)
        now[0] += 0.25
    assert put == [(3, 7, 10), (3, 7, 18)]


def test_loops_are_told_of_while_a_worker_listens() -> None:
    put = list[tuple[Any, ...]]()
    teller = Teller(SimpleNamespace(put=SimpleNamespace(remote=lambda *told: put.append(told))), 3, 7)
    with teller.listening(), track(2, "train") as progress:
        progress.advance(2)
    assert put == [(3, 7, news_of("train", 0, 2)), (3, 7, news_of("train", 2, 2))]


def test_parts_of_shards_count_and_those_of_a_worker_that_died_no_more() -> None:
    progress = track(30, "job", quiet=True)
    shards = CountedShards([10, 20], progress)
    for shard, images in ((0, 4), (1, 15), (0, 9), (1, 3)):  # shard 1 was begun again
        shards.hear(shard, images)
    assert progress.done == 12
    shards.hear(1, news_of("a loop within", 1))
    shards.finish(0)
    assert progress.done == 13
    shards.finish(1)
    assert progress.done == 30


def test_functions_are_shown_side_by_side_from_loop_to_loop(capsys: pytest.CaptureFixture[str]) -> None:
    with track(2, "train-upstream") as of_all, SideBySide(of_all) as shown:
        for number, news in (
            (0, news_of("city", 0)),
            (1, news_of("read way", 0, 3)),
            (0, news_of("city", 40, loss=0.5)),
            (1, news_of("read way", 2, 3)),
            (1, news_of("way", 10)),
            (0, news_of("city", 20)),  # the worker has died, and another goes on from the last checkpoint
            (0, news_of("city", 60)),
        ):
            shown.hear(number, news)
        shown.hear(1, 7)
        shown.finish(5)  # of which nothing was told
        assert capsys.readouterr().err.splitlines()[0].startswith("read way: 2/3 · 67 % · ")
        shown.finish(0)
        of_all.advance()
    lines = [line.partition(" · ")[0] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["city: 100/100", "way: 10/100", "train-upstream: 1/2"]
