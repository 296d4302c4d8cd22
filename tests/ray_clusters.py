"""A Ray cluster on this machine, for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def three_nodes(environment: Mapping[str, str] | None = None, caches: Path | None = None) -> Iterator[Any]:
    """A cluster that this process has joined: a head and two more nodes of a CPU each, with more environment variables.

    With `caches`, each node has its own `LAT_CACHE` there, as if it were another machine.
    """
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RAY_DEDUP_LOGS_SKIP_REGEX": "(?s).*", **(environment or {})}.items():
            patch.setenv(name, value)
        own = [{"env_vars": {"LAT_CACHE": str(caches / f"cache of node {i}")}} if caches else {} for i in range(3)]
        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **own[0]})
        try:
            for each in own[1:]:
                started.add_node(num_cpus=1, **each)
            ray.init(address=started.address, log_to_driver=False, logging_level="ERROR")
            yield started
        finally:
            ray.shutdown()
            started.shutdown()
