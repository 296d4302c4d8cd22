"""A whole run on Ray whose folder is on an S3 server, with workers that have no folder in common."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ray_clusters import three_nodes
from remote_files import cache, s3_server
from tiny import draw_tiny, result_bytes, tiny_workspace

from lat.pipeline.run import run_stages

__all__ = ["cache"]

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
SETTINGS = ["runtime.accelerator=cpu", "runtime.images_per_batch=1", "training.tensorboard=false", "downstream.in_run=false"]


def test_try(tmp_path: Path, cache: Path) -> None:
    config = draw_tiny(tmp_path)
    t = time.time()
    run_stages(tiny_workspace(config, tmp_path / "local", *SETTINGS), say=print)
    print("local", time.time() - t)
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as bucket:
        t = time.time()
        with three_nodes(caches=tmp_path):
            print("cluster", time.time() - t)
            t = time.time()
            url = tiny_workspace(config, f"{bucket}/run", *SETTINGS, "runtime.executor=ray")
            run_stages(url, say=lambda line: print(f"{time.time() - t:.1f}", line))
            print("ray", time.time() - t)
            here, there = result_bytes(tmp_path / "local"), result_bytes(url.paths.root)
            assert here.keys() == there.keys()
            print([name for name in here if here[name] != there[name]])
            import fsspec

            names = fsspec.filesystem("s3").find(f"{bucket}/run")
            print(sorted(names))
            print(sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.json") if "data" not in str(p)))
