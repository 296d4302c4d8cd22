"""A whole run on a Ray cluster of three nodes, one of which is lost on the way: the same bytes as in one process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_clusters import three_nodes
from tiny import draw_tiny, quiet, result_bytes, tiny_workspace

from lat.core.errors import InputError
from lat.pipeline.ray_steps import workers_of
from lat.pipeline.run import run_stages

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
SETTINGS = ["runtime.accelerator=cpu", "runtime.images_per_batch=1", "training.tensorboard=false"]
STAGES = ("train-upstream", "pseudo-label", "train-lat", "transfer")


@pytest.fixture
def cluster() -> Iterator[Any]:
    with three_nodes() as started:
        yield started


def lose_a_node_after_the_first_shard(cluster: Any, run: Path) -> threading.Thread:
    """Kill a node in the middle of labelling."""

    def watch() -> None:
        while not any(path.is_file() for path in (run / ".work").rglob("*")):
            time.sleep(0.02)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_a_run_on_ray_that_loses_a_node_writes_the_same_bytes(cluster: Any, tmp_path: Path) -> None:
    config = draw_tiny(tmp_path)
    run_stages(tiny_workspace(config, tmp_path / "local", *SETTINGS), STAGES, say=quiet)
    os.environ.pop("RAY_ADDRESS", None)
    lost = lose_a_node_after_the_first_shard(cluster, tmp_path / "ray")
    on_ray = tiny_workspace(config, tmp_path / "ray", *SETTINGS, "runtime.executor=ray")
    run_stages(on_ray, STAGES, say=quiet)
    lost.join(timeout=0)
    assert not lost.is_alive()
    ours, theirs = (
        {name: content for name, content in result_bytes(tmp_path / run).items() if name.endswith((".json", ".pt"))}
        for run in ("local", "ray")
    )
    assert b'"bbox"' in ours["transferred/nu.city.json"]
    assert theirs == ours
    assert run_stages(tiny_workspace(config, tmp_path / "ray", *SETTINGS), STAGES, say=quiet) == []


@pytest.mark.parametrize(
    ("stage", "settings", "gpus", "workers"),
    [
        ("train-upstream", [], 8, 1),  # a GPU for each detector
        ("train-upstream", ["upstream.training.batch_size=6", "runtime.upstream_parallel=batch"], 4, 3),
        ("train-lat", ["lat.training.batch_size=8"], 0, 1),
        ("train-lat", ["lat.training.batch_size=8"], 7, 4),
        ("train-downstream", ["downstream.training.batch_size=8"], 8, 8),
        ("train-downstream", ["downstream.training.batch_size=8", "downstream.model.detector=yolo"], 8, 1),
    ],
)
def test_as_many_workers_train_together_as_there_are_gpus_and_divide_a_batch(
    stage: str, settings: list[str], gpus: int, workers: int, tmp_path: Path
) -> None:
    assert workers_of(tiny_workspace(draw_tiny(tmp_path), tmp_path / "run", *settings).config, stage, gpus) == workers


def test_several_processes_cannot_each_start_a_run_on_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "2")
    with pytest.raises(InputError, match=r"^runtime.executor: is 'ray' in 2 processes, .*; start `lat` once"):
        _ = tiny_workspace(draw_tiny(tmp_path), tmp_path / "run", "runtime.executor=ray").processes
