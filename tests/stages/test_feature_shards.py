"""Laws of features as work in shards: whoever does them, in whatever order, the files are those of one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import draw_tiny, tiny_workspace

from lat.engine import jobs
from lat.engine.executors import Local
from lat.engine.jobs import Recipe, ShardJob
from lat.stages.label_transfer import share_out_features
from lat.stages.shared.feature_shards import FeatureShards
from lat.stages.shared.transfer_model import open_features
from lat.workspace.workspace import Workspace

SETTINGS = ("lat.backbone.name=random", "lat.backbone.cache=disk", "runtime.accelerator=cpu")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_tiny(tmp_path_factory.mktemp("drawn"))


class FromTheLast:
    """Does shards from the last to the first, each in a run of its own, as workers do."""

    def __init__(self) -> None:
        self.jobs: list[ShardJob] = []

    def run(self, job: ShardJob, recipe: Recipe) -> None:
        self.jobs.append(job)
        for shard in reversed(jobs.missing_shards(job)):
            recipe().run(shard)


def features_of(workspace: Workspace) -> dict[str, bytes]:
    folder = workspace.paths.features
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.npy")}


def test_features_that_workers_compute_are_those_that_training_would(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MIN_BATCHES", 1)
    alone, shared = (tiny_workspace(config, tmp_path / name, *SETTINGS) for name in ("alone", "shared"))
    open_features(alone).fill()
    workers = FromTheLast()
    monkeypatch.setattr(shared.devices, "executor", workers)
    share_out_features(shared)
    assert features_of(shared) == features_of(alone)
    assert open_features(shared).count_missing() == 0
    (job,) = workers.jobs
    assert job.sizes == [6, 6, 6]  # three images of each dataset, each with its flipped one
    assert jobs.missing_shards(job) == []
    next(shared.paths.features.rglob("*.npy")).unlink()
    assert len(jobs.missing_shards(job)) == 1
    share_out_features(shared)
    assert features_of(shared) == features_of(alone)


def test_a_shard_counts_the_maps_that_it_computes(config: Path, tmp_path: Path) -> None:
    workspace = tiny_workspace(config, tmp_path / "run", *SETTINGS, "augmentation.horizontal_flip=0")
    counted: list[int] = []
    job = FeatureShards(workspace, flips=(False,))
    written = job.run(0, counted.append)
    assert sum(counted) == sum(job.sizes) == 9
    assert all(path.is_file() for path in written)
    Local().run(job, lambda: job)
    assert len(written) == len(features_of(workspace)) == 3


@pytest.mark.parametrize("settings", [["lat.backbone.cache=memory"], ["output_dir=s3://bucket/run", "runtime.executor=ray"]])
def test_features_that_workers_cannot_hand_over_are_left_to_training(
    settings: list[str], config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tiny_workspace(config, tmp_path / "run", *SETTINGS, *settings)
    workers = FromTheLast()
    monkeypatch.setattr(workspace.devices, "executor", workers)
    share_out_features(workspace)
    assert workers.jobs == []
