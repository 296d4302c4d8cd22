"""What holds of workers on a Ray cluster without one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
from remote_files import cache, s3_server

from lat.core.errors import InputError
from lat.engine import processes
from lat.engine.outcome import Outcome, WorkerError
from lat.engine.ray_cluster import Place, count_gpus, join_cluster, require_seen
from lat.engine.ray_training import _Folder

__all__ = ["cache"]


class Resources:
    """A cluster with so many GPUs."""

    def __init__(self, gpus: float) -> None:
        self.gpus = gpus

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 4.0} | ({"GPU": self.gpus} if self.gpus else {})


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError) as raised:
        join_cluster()
    assert str(raised.value) == "runtime.executor: is 'ray', which needs ray; pip install 'lat-detection[ray]'"


@pytest.mark.parametrize(
    ("accelerator", "there", "used"), [("auto", 0, 0), ("auto", 3, 3), ("cpu", 3, 0), ("cuda", 0, 1), ("cuda", 3, 3)]
)
def test_gpus_are_those_that_there_are_unless_the_settings_say_otherwise(accelerator: str, there: int, used: int) -> None:
    assert count_gpus(Resources(there), accelerator) == used


def test_a_worker_knows_nothing_of_the_launcher_and_has_as_many_threads_as_cpus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "4")
    monkeypatch.chdir(tmp_path)
    try:
        Place(str(tmp_path / "not here"), cpus=2).enter_alone()
        assert Path.cwd() == tmp_path
        assert torch.get_num_threads() == 2
        assert os.environ["OMP_NUM_THREADS"] == "2"
        assert processes.started_processes() == (1, 1)
        assert not any(name.startswith(("TORCHELASTIC_", "SLURM_")) or name.endswith("WORLD_SIZE") for name in os.environ)
    finally:
        torch.set_num_threads(threads)


def test_an_outcome_is_a_value_an_input_error_or_a_traceback() -> None:
    assert Outcome.of(divmod, 7, 2).unwrap() == (3, 1)
    with pytest.raises(InputError, match=r"^a: is bad; mend it$"):
        Outcome.of(fail, InputError("a", "is bad", "mend it")).unwrap()
    with pytest.raises(WorkerError, match=r"(?s)Traceback.*in fail.*KeyError: 'b'$"):
        Outcome.of(fail, KeyError("b")).unwrap()


def fail(error: Exception) -> None:
    raise error


def test_a_file_that_is_not_seen_in_time_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "SECONDS_TO_SEE", 0.1)
    (tmp_path / "seen").touch()
    require_seen([tmp_path / "seen"])
    with pytest.raises(
        InputError, match=r"unseen: was written by a Ray worker .*; choose an output_dir that all machines share$"
    ):
        require_seen([tmp_path / "seen", tmp_path / "unseen"])


@pytest.mark.usefixtures("cache")
def test_a_group_keeps_its_files_in_a_folder_or_at_a_url(tmp_path: Path) -> None:
    fs = pytest.importorskip("pyarrow.fs")
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as bucket:
        for place in (str(tmp_path / "ray"), f"{bucket}/ray"):
            folder = _Folder(place)
            storage = folder.storage()
            system = storage.get("storage_filesystem") or fs.LocalFileSystem()
            file = f"{storage['storage_path']}/train/marker"
            system.create_dir(f"{storage['storage_path']}/train")
            system.open_output_stream(file).close()  # as Ray Train begins
            assert system.get_file_info(file).type == fs.FileType.File
            assert folder.read("error") is None
            folder.write("error", b"e")
            assert folder.read("error") == b"e"
            folder.remove()
            assert folder.read("error") is None
            assert system.get_file_info(file).type == fs.FileType.NotFound
            folder.remove()
