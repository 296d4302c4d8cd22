"""Shards that sleep instead of computing, in the processes that torchrun starts: FILE [straggler].

Writes to FILE the seconds that all shards take with shards that each process takes when it is free, and with equal shares, and
the shortest time in which processes of these speeds can be done.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lat.engine.executors import InProcesses, Local
from lat.engine.jobs import ShardJob
from lat.engine.processes import Processes, started_processes
from lat.engine.runtime import build_fabric, processes_of
from lat.engine.training_settings import RuntimeSettings

SHARDS, SECONDS = 96, 0.15


@dataclass(frozen=True)
class SleepingJob:
    """Shards that take so many seconds each and leave no files; see `ShardJob`."""

    seconds: float
    title: str = "sleep"
    is_preparation: bool = False

    @property
    def sizes(self) -> Sequence[int]:
        return [1] * SHARDS

    def is_done(self, shard: int) -> bool:
        return False

    def run(self, shard: int) -> Sequence[Path]:
        time.sleep(self.seconds)
        return []


def in_shares(processes: Processes, job: ShardJob) -> None:
    """Let each process do an equal share, and wait for all."""
    for shard in processes.share(range(SHARDS)):
        job.run(shard)
    processes.settle([])


def timed(work: partial[None], processes: Processes) -> float:
    """Seconds from when all processes begin to when all are done."""
    processes.settle([])
    start = time.monotonic()
    work()
    return time.monotonic() - start


def sleep_and_tell() -> None:
    """Measure both ways, and write what the first process has found."""
    has_straggler = "straggler" in sys.argv
    processes = processes_of(build_fabric(RuntimeSettings(accelerator="cpu"), seed=0))
    is_slow = has_straggler and processes.rank == processes.size - 1
    job = SleepingJob(SECONDS * (2 if is_slow else 1))
    executor = InProcesses(processes) if started_processes() != (1, 1) else Local()
    figures = {
        "ideal": SHARDS * SECONDS / (processes.size - (0.5 if has_straggler else 0)),
        "whoever is free": timed(partial(executor.run, job, partial(SleepingJob, job.seconds)), processes),
        "equal shares": timed(partial(in_shares, processes, job), processes),
    }
    if processes.is_first:
        Path(sys.argv[1]).write_text(json.dumps(figures))


if __name__ == "__main__":
    sleep_and_tell()
