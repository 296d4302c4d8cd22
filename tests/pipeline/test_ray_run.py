"""A whole run on a Ray cluster of three nodes, one of which is lost on the way: the same bytes as in one process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import draw_tiny, quiet, result_bytes, tiny_workspace

from lat.pipeline.run import run_stages

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
SETTINGS = ["runtime.accelerator=cpu", "runtime.images_per_batch=1", "training.tensorboard=false"]
STAGES = ("train-upstream", "pseudo-label", "train-lat", "transfer")


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_DEDUP_LOGS_SKIP_REGEX", "(?s).*")
        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            for _ in range(2):
                started.add_node(num_cpus=1)
            ray.init(address=started.address, log_to_driver=False, logging_level="ERROR")
            yield started
        finally:
            ray.shutdown()
            started.shutdown()


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
