"""What trainings on a Ray cluster do in tests."""

from __future__ import annotations

from pathlib import Path

from regression import Line, Points, settings, train_line

from lat.core.errors import InputError
from lat.engine.processes import started_processes
from lat.engine.runtime import build_fabric, processes_of
from lat.engine.training_settings import RuntimeSettings


def train_and_tell(folder: Path) -> None:
    """Train the line, and write which processes there are."""
    train_line(folder, Line(), Points(0.1), settings(ema_decay=0.5))
    processes = processes_of(build_fabric(RuntimeSettings(accelerator="cpu"), seed=0))
    processes.from_first((folder / "processes").write_text, f"{started_processes()} {processes.size}")


def raise_in_one(folder: Path) -> None:
    """The second process finds something wrong while the first waits for it."""
    processes = processes_of(build_fabric(RuntimeSettings(accelerator="cpu"), seed=0))
    if processes.rank:
        raise InputError("item", "is bad", "mend it")
    processes.settle([])
