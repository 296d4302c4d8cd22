"""`lat run` with `runtime.executor=ray` on a cluster of three nodes, one of which is killed in the middle: CONFIG OUTPUT_DIR."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster
from stand_in_run import install

from lat.config.load import load_config
from lat.pipeline.run import run_stages
from lat.workspace.workspace import Workspace

NODES = 3
SHARDS_BEFORE = 4  # of the largest transfer, when the node is killed


def kill_in_the_middle(cluster: Cluster, output: Path, killed: list[str]) -> None:
    """Wait for some shards of the largest transfer, and kill a node that is not the head."""
    while len(list(output.glob(".work/transferred/shift.*/part-*.parquet"))) < SHARDS_BEFORE:
        time.sleep(0.02)
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    killed.append(f"{len(list(output.glob('.work/transferred/shift.*/part-*.parquet')))}")


def start() -> Any:
    """A cluster whose workers have the stand-in."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] = "(?s).*"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(NODES - 1):
        cluster.add_node(num_cpus=1)
    environment = {"worker_process_setup_hook": "stand_in_run.install"}
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", runtime_env=environment)
    return cluster


def run(config: Path, output: Path) -> str:
    """Do the run; returns what happened."""
    install()
    cluster, killed = start(), list[str]()
    threading.Thread(target=kill_in_the_middle, args=(cluster, output, killed), daemon=True).start()
    try:
        run_stages(Workspace(load_config(config, [f"output_dir={output}", "runtime.executor=ray"])))
    finally:
        ray.shutdown()
        cluster.shutdown()
    if not killed:
        raise SystemExit("no node was killed")
    return f"Ray, {NODES} nodes of a CPU, one killed after {killed[0]} parts of the largest transfer"


if __name__ == "__main__":
    print(run(Path(sys.argv[1]), Path(sys.argv[2])))
