"""A Ray cluster on this machine, for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def three_nodes(environment: Mapping[str, str] | None = None) -> Iterator[Any]:
    """A cluster that this process has joined: a head and two more nodes of a CPU each, with more environment variables."""
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RAY_DEDUP_LOGS_SKIP_REGEX": "(?s).*", **(environment or {})}.items():
            patch.setenv(name, value)
        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            for _ in range(2):
                started.add_node(num_cpus=1)
            ray.init(address=started.address, log_to_driver=False, logging_level="ERROR")
            yield started
        finally:
            ray.shutdown()
            started.shutdown()
