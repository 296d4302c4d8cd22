"""The processes that read for a run, as far as shared memory goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import draw_tiny, quiet, tiny_workspace

from lat.core.errors import InputError
from lat.engine import reading
from lat.pipeline.run import run_stages
from lat.workspace.reading import largest_batch_bytes, reading_threads, reading_workers


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_tiny(tmp_path_factory.mktemp("reading"))


def test_the_largest_batch_is_that_of_the_largest_images(config: Path, tmp_path: Path) -> None:
    workspace = tiny_workspace(config, tmp_path, "upstream.training.batch_size=8", "downstream.training.batch_size=2")
    sizes = [size for name in workspace.names for size in workspace.data.train_part(name).labels.sizes_hw.tolist()]
    height, width = max(sizes)
    assert all(h * w <= height * width for h, w in sizes)
    assert largest_batch_bytes(workspace) == 8 * 3 * height * width * 4


def test_without_shared_memory_nothing_reads_beside_the_run_unless_it_is_asked_for(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(reading, "available_cores", lambda: 8)
    assert reading_workers(tiny_workspace(config, tmp_path)) == 2
    monkeypatch.setattr(reading, "free_shared_memory", lambda: 0)
    assert reading_workers(tiny_workspace(config, tmp_path)) == 0
    assert reading_threads(tiny_workspace(config, tmp_path)) == 2
    with pytest.raises(InputError, match=r"^runtime\.num_workers: is 3, .*shm-size"):
        run_stages(tiny_workspace(config, tmp_path, "runtime.num_workers=3"), ("train-upstream",), say=quiet)
    assert not list(tmp_path.rglob("model.pt"))
