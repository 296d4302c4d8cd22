"""Fixtures of whole runs. Its place puts this folder on the import path: any test can say `from factories import coco_dict`."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ray_clusters import RayCluster

HERE = Path(__file__).parent


os.fsync = lambda _: None  # no test outlives a power failure, and a tenth of a tiny run would be waiting for the disk


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a module's fixture go to one process, so that it is made once."""
    for item in items:
        made = item._fixtureinfo.name2fixturedefs.values()
        if any(one[-1].scope == "module" for one in made) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.split("::")[0]))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """No search for garbage looks again at what was imported, which stays until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def copied(finished: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The configuration and a copy of the run that the module's fixture `finished` has made, to be changed at will."""
    config, run = finished
    shutil.copytree(run, tmp_path / "run")
    return config, tmp_path / "run"


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """One for all tests on Ray, which starts slowly; tests find it as the ones before them have left it."""
    from ray_clusters import three_nodes

    with three_nodes(tmp_path_factory.mktemp("nodes"), [HERE, HERE / "engine"]) as cluster:
        yield cluster
