"""What trainings on a Ray cluster do in tests."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import torch
from regression import Line, Points, settings, train_line

from lat.engine.processes import started_processes
from lat.engine.progress import track
from lat.engine.runtime import build_fabric, processes_of
from lat.engine.training_settings import RuntimeSettings


def train_and_tell(folder: Path) -> None:
    """Train the line, and write which processes there are."""
    train_line(folder, Line(), Points(0.1), settings(ema_decay=0.5))
    processes = processes_of(build_fabric(RuntimeSettings(accelerator="cpu"), seed=0))
    processes.from_first((folder / "processes").write_text, f"{started_processes()} {processes.size}")


class DeadlyPoints(Points):
    """The points, of which one kills the process, unless `mark` says that it has happened before."""

    def __init__(self, mark: Path) -> None:
        super().__init__(0.1)
        self.mark = mark

    def item(self, index: int, generator: torch.Generator) -> Any:
        if self.served == 60 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().item(index, generator)


def train_and_die_once(folder: Path) -> None:
    """Train the line; the first attempt dies between two checkpoints."""
    folder.mkdir(exist_ok=True)
    train_line(folder, Line(), DeadlyPoints(folder / "died"), settings(ema_decay=0.5))


def work_until_it_is_shown(folder: Path) -> None:
    """Be in the middle of a loop until there is a file `shown`."""
    with track(5, "slow", done=2):
        wait_for(folder / "shown")


def train_until_it_is_shown(folder: Path, url: str) -> None:
    """Train the line, in a folder and at a URL, and wait for a file `shown`."""
    train_and_tell(folder)
    train_at_url(url, folder)
    wait_for(folder / "shown")


def train_at_url(url: str, told: Path) -> None:
    """Train the line in this machine's copy of a run's folder; each process copies the model that it sees."""
    from lat.config.load import config_from  # other workers need neither
    from lat.workspace.url_work import training_at_url

    datasets = [{"name": name, "images": name, "annotations": f"{name}.json"} for name in "ab"]
    config = config_from({"datasets": datasets, "output_dir": url, "runtime": {"executor": "ray"}})
    with training_at_url(config, {}, ["line"]) as placed:
        model = train_line(Path(placed.output_dir) / "line", Line(), Points(0.1), settings(ema_decay=0.5))
        assert model.is_relative_to(os.environ["LAT_CACHE"])
        shutil.copy(model, told / f"{Path(os.environ['LAT_CACHE']).name}.pt")


def wait_for(file: Path) -> None:
    """Wait until a file exists, or for five minutes."""
    deadline = time.monotonic() + 300
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
