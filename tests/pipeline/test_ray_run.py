"""Whole runs on a Ray cluster of three nodes, though one is lost on the way, and with the run's folder on an S3 server: the same
bytes as in one process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import fsspec
import pytest
from ray_clusters import RayCluster
from tiny import DATASETS, FEW_STEPS, draw_tiny, quiet, result_bytes, tiny_workspace

from lat.core.errors import InputError
from lat.core.url_folder import UrlFolder
from lat.engine.ray_executor import Ray
from lat.pipeline.ray_steps import workers_of
from lat.pipeline.run import run_stages

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]  # one cluster for all
SETTINGS = ["runtime.accelerator=cpu", "runtime.images_per_batch=1", "training.trackers=[]", "downstream.in_run=false"]
SETTINGS += ["lat.backbone.cache=disk"]
STAGES = ("train-upstream", "pseudo-label", "train-lat", "transfer")
LATER = ("evaluation.json", "doubt/", "report/")  # what the stages after these write


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_tiny(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def local(config: Path) -> Path:
    """The folder of a run in one process."""
    folder = config.parent / "local"
    run_stages(tiny_workspace(config, folder, *SETTINGS), say=quiet)
    return folder


def labels_and_models(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in result_bytes(folder).items() if name.endswith((".json", ".jsonl", ".pt"))}


def lose_a_node_after_the_first_shard(cluster: RayCluster, run: Path) -> threading.Thread:
    """Kill a node in the middle of labelling."""

    def watch() -> None:
        while not any(path.is_file() for path in (run / ".work").rglob("*")):
            time.sleep(0.02)
        cluster.lose_a_node()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def end_with_the_first_shard(config: Path, url: str, *settings: str) -> None:
    """Kill a run in another process as soon as it has the file of a labelled shard."""
    here = [sys.executable, str(Path(__file__).parents[1] / "ended_lat.py"), ".parquet", "self"]
    ended = subprocess.run(
        [*here, "run", str(config), *FEW_STEPS, f"output_dir={url}", *settings], capture_output=True, timeout=600
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def test_a_run_on_ray_that_loses_a_node_writes_the_same_bytes(
    ray_cluster: RayCluster, config: Path, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, run = list[str](), Ray.run
    monkeypatch.setattr(Ray, "run", lambda workers, job, recipe: (done.append(job.title), run(workers, job, recipe)))
    lost = lose_a_node_after_the_first_shard(ray_cluster, tmp_path / "ray")
    on_ray = tiny_workspace(config, tmp_path / "ray", *SETTINGS, "runtime.executor=ray")
    run_stages(on_ray, STAGES, say=quiet)
    lost.join(timeout=120)
    assert not lost.is_alive()
    ours = {name: content for name, content in labels_and_models(local).items() if not name.startswith(LATER)}
    theirs = labels_and_models(tmp_path / "ray")
    assert b'"bbox"' in ours["transferred/nu.city.json"]
    assert theirs == ours
    assert "features of upstream" in done
    features = [sorted(path.read_bytes() for path in run.rglob("*.npy")) for run in (local, tmp_path / "ray")]
    assert features[0] == features[1] != []
    assert run_stages(tiny_workspace(config, tmp_path / "ray", *SETTINGS), STAGES, say=quiet) == []


def test_a_run_at_a_url_that_is_killed_goes_on_from_an_empty_machine(
    ray_cluster: RayCluster, config: Path, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ray_cluster.environment.items():
        monkeypatch.setenv(name, value)
    url, settings = f"{ray_cluster.bucket}/run", (*SETTINGS, "runtime.executor=ray")
    store = fsspec.filesystem("s3")

    with monkeypatch.context() as patch:
        patch.setenv("RAY_ADDRESS", ray_cluster.address)
        patch.setenv("LAT_CACHE", str(tmp_path / "killed"))
        end_with_the_first_shard(config, url, *settings)
    store.invalidate_cache()
    done = [name.removeprefix(f"{url}/".removeprefix("s3://")) for name in store.find(url)]
    assert {f"upstream/{name}/model.pt" for name in DATASETS} <= set(done)
    assert not [name for name in done if name.startswith("transferred") or name.endswith(("checkpoint.pt", ".tmp"))]

    monkeypatch.setenv("LAT_CACHE", str(tmp_path / "empty"))
    run = tiny_workspace(config, url, *settings)
    stages = [step.stage for step in run_stages(run, say=quiet)]
    assert "train-upstream" not in stages
    assert "transfer" in stages
    assert run.paths.root.is_relative_to(tmp_path / "empty")
    assert labels_and_models(run.paths.root) == labels_and_models(local)
    UrlFolder(url, tmp_path / "there").pull()
    assert labels_and_models(tmp_path / "there") == labels_and_models(local)
    assert not store.exists(f"{url}/.state/lock.json")


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
    stage: str, settings: list[str], gpus: int, workers: int, config: Path
) -> None:
    assert workers_of(tiny_workspace(config, "run", *settings).config, stage, gpus) == workers


def test_several_processes_cannot_each_start_a_run_on_ray(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "2")
    with pytest.raises(InputError, match=r"^runtime.executor: is 'ray' in 2 processes, .*; start `lat` once"):
        _ = tiny_workspace(config, "run", "runtime.executor=ray").processes
