"""Workers that see a run's folder at its URL alone, without Ray: this process is now the head, now another machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from remote_files import cache

from lat.config.load import Config, config_from
from lat.core.errors import InputError
from lat.core.files import write_atomically
from lat.core.url_folder import Stamps, UrlFolder
from lat.engine.jobs import Advance, uncounted
from lat.workspace import url_work
from lat.workspace.run_folder import run_folder, url_folder
from lat.workspace.url_work import RecipeAtUrl, training_at_url

__all__ = ["cache"]

pytestmark = pytest.mark.usefixtures("cache")
URL = "memory://bucket/run"


@pytest.fixture
def config() -> Config:
    datasets = [{"name": name, "images": name, "annotations": f"{name}.json"} for name in "ab"]
    return config_from({"datasets": datasets, "output_dir": URL, "runtime": {"executor": "ray"}})


@pytest.fixture
def head() -> UrlFolder:
    """The copy of the machine where the run was started, with a model in it."""
    folder = url_folder(URL)
    assert folder is not None
    (folder.folder / "lat").mkdir(parents=True)
    (folder.folder / "lat" / "model.pt").write_text("weights")
    folder.push()
    return folder


def another_machine(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("LAT_CACHE", str(folder))


def at_url() -> dict[str, str]:
    store = fsspec.filesystem("memory")
    return {name.removeprefix("/bucket/run/"): store.cat_file(name).decode() for name in store.find("/bucket/run")}


@dataclass(frozen=True)
class Copying:
    """A recipe, and its job: a shard is a copy of the model."""

    config: Config
    title: str = "copy"
    is_preparation: bool = False
    sizes: Sequence[int] = (1, 1)

    def of(self, config: Config) -> Copying:
        return Copying(config)

    def is_done(self, shard: int) -> bool:
        return self._path(shard).is_file()

    def run(self, shard: int, advance: Advance = uncounted) -> list[Path]:
        self._path(shard).parent.mkdir(parents=True, exist_ok=True)
        self._path(shard).write_bytes((run_folder(self.config.output_dir) / "lat" / "model.pt").read_bytes())
        return [self._path(shard)]

    def _path(self, shard: int) -> Path:
        return run_folder(self.config.output_dir) / ".work" / f"part-{shard}"


def test_a_worker_brings_what_its_shards_read_and_the_head_gets_what_it_writes(
    config: Config, head: UrlFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RecipeAtUrl(Copying(config), head.stamps([head.folder / "lat" / "model.pt"]))
    with monkeypatch.context() as patch:
        another_machine(patch, tmp_path / "worker")
        files = recipe().run(1)
    assert files == [Path(".work/part-1")]
    assert not Copying(config).is_done(1)
    assert head.gather(files) == [head.folder / ".work" / "part-1"]
    assert Copying(config).is_done(1)
    copies = [path.read_text() for path in (tmp_path / "worker").rglob("*") if path.name in ("model.pt", "part-1")]
    assert copies == ["weights", "weights"]


def train_two_steps(config: Config, needs: Stamps) -> None:
    """Write two checkpoints, wait until each is at the URL, and be stopped."""
    with training_at_url(config, needs, ["upstream/a"]) as placed:
        folder = Path(placed.output_dir)
        assert (folder / "lat" / "model.pt").read_text() == "weights"
        (folder / "upstream" / "a").mkdir(parents=True)
        for text in ("step 1", "step 2"):
            (folder / "upstream" / "a" / "log.jsonl").write_text(text)
            write_atomically(folder / "upstream" / "a" / "checkpoint.pt", text)
            while at_url().get("upstream/a/log.jsonl") != text:
                time.sleep(0.01)
        raise KeyboardInterrupt


def test_a_training_goes_on_elsewhere_from_the_last_checkpoint_at_the_url(
    config: Config, head: UrlFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(url_work, "CHECKPOINT_SECONDS", 0.01)
    needs = head.stamps([head.folder / "lat" / "model.pt"])
    with monkeypatch.context() as patch:
        another_machine(patch, tmp_path / "one")
        with pytest.raises(KeyboardInterrupt):
            train_two_steps(config, needs)
    another_machine(monkeypatch, tmp_path / "other")
    with training_at_url(config, needs, ["upstream/a"]) as placed:
        folder = Path(placed.output_dir) / "upstream" / "a"
        assert (folder / "checkpoint.pt").read_text() == "step 2"
        (folder / "model.pt").write_text("done")
        (folder / "checkpoint.pt").unlink()
    assert at_url() == {"lat/model.pt": "weights", "upstream/a/log.jsonl": "step 2", "upstream/a/model.pt": "done"}


def test_a_checkpoint_that_is_replaced_while_another_is_carried_is_carried_next(
    config: Config, head: UrlFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(url_work, "CHECKPOINT_SECONDS", 0.01)
    put_file = MemoryFileSystem.put_file

    def put_while_training_goes_on(self: MemoryFileSystem, path: str, key: str, **options: object) -> None:
        put_file(self, path, key, **options)
        if key.endswith("log.jsonl"):
            monkeypatch.setattr(MemoryFileSystem, "put_file", put_file)
            write_atomically(checkpoint, "step 2")

    with training_at_url(config, {}, ["lat"]) as placed:
        checkpoint = Path(placed.output_dir) / "lat" / "checkpoint.pt"
        (checkpoint.parent / "log.jsonl").write_text("steps")
        monkeypatch.setattr(MemoryFileSystem, "put_file", put_while_training_goes_on)
        write_atomically(checkpoint, "step 1")
        deadline = time.monotonic() + 30
        while at_url().get("lat/checkpoint.pt") != "step 2" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert at_url().get("lat/checkpoint.pt") == "step 2"


def test_a_store_that_fails_for_a_while_does_not_end_a_training(
    config: Config, head: UrlFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(url_work, "CHECKPOINT_SECONDS", 0.01)
    tried: list[str] = []

    def refused(self: MemoryFileSystem, path: str, key: str, **options: object) -> None:
        tried.append(key)
        raise OSError("out of order")

    with training_at_url(config, {}, ["lat"]) as placed:
        folder = Path(placed.output_dir) / "lat"
        with monkeypatch.context() as patch:
            patch.setattr(MemoryFileSystem, "put_file", refused)
            write_atomically(folder / "checkpoint.pt", "step 1")
            while not tried:
                time.sleep(0.01)
        write_atomically(folder / "checkpoint.pt", "step 2")
        deadline = time.monotonic() + 30
        while at_url().get("lat/checkpoint.pt") != "step 2" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert at_url().get("lat/checkpoint.pt") == "step 2"
        (folder / "checkpoint.pt").unlink()
        (folder / "model.pt").write_text("done")
    assert at_url() == {"lat/model.pt": "done"}
    monkeypatch.setattr(MemoryFileSystem, "put_file", refused)
    with (
        pytest.raises(InputError, match=rf"^{URL}/lat/model.pt: cannot be written \(out of order\)"),
        training_at_url(config, {}, ["lat"]) as placed,
    ):
        (Path(placed.output_dir) / "lat" / "model.pt").write_text("better")
    assert (Path(placed.output_dir) / "lat" / "model.pt").read_text() == "better"
