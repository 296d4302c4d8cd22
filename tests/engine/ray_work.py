"""What trainings on a Ray cluster do in tests."""

from __future__ import annotations

import os
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


def train_until_it_is_shown(folder: Path) -> None:
    """Train the line, and wait for a file `shown`."""
    train_and_tell(folder)
    wait_for(folder / "shown")


def wait_for(file: Path) -> None:
    """Wait until a file exists, or for a minute."""
    deadline = time.monotonic() + 60
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
