"""Figures for TensorBoard, in a file that is written at once.

`SummaryWriter` writes from a thread, which loses what waits when the process is killed, and prints a traceback on a full disk.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lat.core.files import writing


class TensorboardFile:
    """The only file of figures in a folder; those of an earlier run are removed.

    Args:
        folder: it need not exist.

    Raises:
        InputError: if the file cannot be written, also by `add`.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"events.out.tfevents.{time.time():.0f}.{os.getpid()}.0"
        with writing(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
        self._write([_event(file_version="brain.Event:2")])

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Write figures by name, after `step` steps."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
        self._write([_event(step=step, summary=Summary(value=[value])) for value in values])

    def close(self, outcome: str) -> None:
        """Nothing is left to write, whatever the outcome."""

    def _write(self, events: Sequence[Any]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        with writing(self.path), self.path.open("ab") as file:
            records = RecordWriter(file)
            for event in events:
                records.write(event.SerializeToString())


def _event(**content: Any) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=time.time(), **content)
