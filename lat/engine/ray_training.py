"""Training on a Ray cluster by a group of workers that Ray Train starts.

A training that loses a worker begins again in another and resumes by itself from the checkpoint in its folder.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lat.core.remote import is_url, open_system
from lat.engine.outcome import Outcome
from lat.engine.processes import join_group
from lat.engine.ray_cluster import DEATHS, Function, Place, RayWorkerError, join_cluster, not_installed
from lat.engine.ray_progress import Board, SideBySide, Teller


def train_in_groups(functions: Sequence[Function], folder: str, *, workers: int) -> Iterator[int]:
    """Do one function after another, each by a group of workers with a GPU each; see `train_in_group`."""
    for number, function in enumerate(functions):
        train_in_group(function, folder, workers=workers, gpus=1)
        yield number


def train_in_group(function: Function, folder: str, *, workers: int, gpus: int) -> None:
    """Do a function in all workers of a group that Ray Train starts; in each, `started_processes` tells of the others.

    Args:
        function: what to do.
        folder: path or URL of a folder for Ray Train's own files, which all machines see; deleted in the end.
        workers: their number.
        gpus: 0 or 1, of each worker.

    Raises:
        InputError: if the function raised it in any worker.
        WorkerError: if it raised another error, or workers died again and again.
    """
    board = Board(join_cluster())
    os.environ |= {"RAY_TRAIN_V2_ENABLED": "1", "RAY_CHDIR_TO_TRIAL_DIR": "0"}
    try:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    place = _Folder(folder if is_url(folder) else str(Path(folder).resolve()))
    place.remove()
    task = _Group(Place.of_driver(), function, place, Teller(board.notes, 0, 0))
    each = {"CPU": 1, "GPU": gpus}
    trainer = TorchTrainer(
        _Group.do_with,
        train_loop_config={"group": task},
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus > 0, resources_per_worker=each, placement_strategy="PACK"),
        run_config=RunConfig(name="train", failure_config=FailureConfig(max_failures=DEATHS), **place.storage()),
    )
    try:
        with SideBySide() as shown, board.watched(shown.hear):
            trainer.fit()
    except Exception as error:
        task.raise_error()
        raise RayWorkerError(f"training on Ray failed: {error}") from error
    else:
        task.raise_error()
    finally:
        place.remove()


@dataclass(frozen=True)
class _Folder:
    """A folder that all machines of a group see, by its path or URL."""

    place: str

    def storage(self) -> dict[str, Any]:
        """What Ray Train has to know to keep its own files there."""
        system, key = open_system(self.place)
        if not is_url(self.place):
            Path(key).mkdir(parents=True, exist_ok=True)
            return {"storage_path": key}
        from pyarrow import fs

        return {"storage_path": key, "storage_filesystem": fs.PyFileSystem(fs.FSSpecHandler(system))}

    def write(self, name: str, content: bytes) -> None:
        system, key = open_system(f"{self.place}/{name}")
        system.pipe_file(key, content)

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none."""
        system, key = open_system(f"{self.place}/{name}")
        system.invalidate_cache()
        return system.cat_file(key) if system.exists(key) else None

    def remove(self) -> None:
        """Delete it with all that is in it."""
        system, key = open_system(self.place)
        system.invalidate_cache()
        with suppress(FileNotFoundError):
            system.rm(key, recursive=True)


@dataclass(frozen=True)
class _Group:
    """What each worker of a group does.

    Attributes:
        place: where it stands.
        function: what to do.
        folder: where a file `error` has an `InputError`; once it is there, the group has nothing more to do.
        teller: tells how far the first worker is.
    """

    place: Place
    function: Function
    folder: _Folder
    teller: Teller

    @staticmethod
    def do_with(config: dict[str, Any]) -> None:
        """Ray Train's training loop."""
        group: _Group = config["group"]
        if group.folder.read("error") is not None:  # Ray Train begins again after an error as after a death
            return
        group.place.enter()
        join_group()
        with group.teller.listening():
            outcome = Outcome.of(group.function)
        if outcome.error is not None:
            group.folder.write("error", pickle.dumps(outcome.error))
        outcome.unwrap()

    def raise_error(self) -> None:
        """Raise the `InputError` of a worker, if there was one."""
        if error := self.folder.read("error"):
            raise pickle.loads(error)
