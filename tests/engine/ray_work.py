"""What trainings on a Ray cluster do in tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch
from regression import Line, Points, settings, train_line

from lat.engine.processes import started_processes
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
