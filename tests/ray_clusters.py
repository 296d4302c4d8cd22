"""A Ray cluster on this machine, and an S3 server that its nodes know, for tests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from remote_files import s3_server


class RayCluster:
    """Nodes of a CPU each, which have no cache of `lat` in common, as if each were a machine; this process has joined them.

    Args:
        bucket: the URL of an empty bucket.
        environment: of its processes, beside that of this one.
        folder: for the caches.
        nodes: how many nodes it has at first.
    """

    def __init__(self, bucket: str, environment: Mapping[str, str], folder: Path, nodes: int) -> None:
        from ray.cluster_utils import Cluster

        self.bucket, self.environment, self.folder, self._number = bucket, environment, folder, 0
        self._cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **self._own()})
        for _ in range(nodes - 1):
            self.add_node()

    @property
    def address(self) -> str:
        address: str = self._cluster.address
        return address

    @property
    def size(self) -> int:
        """How many nodes there are."""
        return 1 + len(self._cluster.worker_nodes)

    def add_node(self) -> None:
        self._cluster.add_node(**self._own())

    def have_nodes(self, nodes: int) -> None:
        """Add as many as are missing, which tests have lost."""
        for _ in range(nodes - 1 - len(self._cluster.worker_nodes)):
            self.add_node()

    def lose_a_node(self) -> None:
        """Kill one that is not the head."""
        self._cluster.remove_node(next(iter(self._cluster.worker_nodes)), allow_graceful=False)

    def end(self) -> None:
        self._cluster.shutdown()

    def _own(self) -> dict[str, Any]:
        """What is a node's own."""
        self._number += 1
        cache = str(self.folder / f"cache of node {self._number}")
        return {"num_cpus": 1, "env_vars": {**self.environment, "LAT_CACHE": cache}}


@contextmanager
def three_nodes(folder: Path, import_from: Sequence[Path]) -> Iterator[RayCluster]:
    """A cluster of three nodes whose processes also import from these folders; they may come and go."""
    import ray

    path = [*map(str, import_from), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as of_store, s3_server(of_store) as bucket, pytest.MonkeyPatch.context() as patch:
        of_nodes = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        of_store.undo()  # tests beside these know no store
        patch.setenv("RAY_DEDUP_LOGS_SKIP_REGEX", "(?s).*")
        patch.delenv("RAY_ADDRESS", raising=False)
        cluster = RayCluster(bucket, {**of_nodes, "PYTHONPATH": os.pathsep.join(path)}, folder, 3)
        try:
            ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
            yield cluster
        finally:
            ray.shutdown()
            cluster.end()
