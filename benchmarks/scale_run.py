"""Time and memory of each stage of a whole run, measured from outside the process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown import Row
from stand_in_run import write_run

HERE = Path(__file__).parent
MIB = 2**20


@dataclass
class Usage:
    """What a process had used up to now: seconds, CPU seconds, and MiB at most since `forget_peak`."""

    seconds: float
    cpu: float
    peak: float

    @classmethod
    def of(cls, process: int) -> Usage:
        times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks = sum(map(int, times[11:13]))
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
        return cls(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), peak * 1024 / MIB)


def forget_peak(process: int) -> None:
    """Let the peak memory of a process start again at what it holds now."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


@dataclass
class Stage:
    """What a stage took in all its steps."""

    name: str
    seconds: float
    cpu: float
    peak: float


def run_rows(folder: Path, sizes: Sequence[int], settings: Sequence[str]) -> list[Row]:
    """A row per size and stage."""
    rows: list[Row] = []
    before: dict[str, Stage] = {}
    for place, images in enumerate(sizes):
        stages = measured_run(folder / f"run_{images}", images, settings)
        total = sum(stage.cpu for stage in stages), max(stage.peak for stage in stages)
        stages.append(Stage("all", sum(stage.seconds for stage in stages), *total))
        growth = f"{images / sizes[place - 1]:.1f}" if place else ""
        rows += [_row(stage, images, before.get(stage.name), growth) for stage in stages]
        before = {stage.name: stage for stage in stages}
    return rows


def _row(stage: Stage, images: int, before: Stage | None, growth: str) -> Row:
    return {
        "images": f"{images:,}",
        "stage": stage.name,
        "seconds": f"{stage.seconds:.0f}",
        "CPU seconds": f"{stage.cpu:.1f}",
        "CPU ms per image": f"{1000 * stage.cpu / images:.2f}",
        "peak MiB": f"{stage.peak:.0f}",
        "CPU x": f"{stage.cpu / before.cpu:.1f}" if before and before.cpu else "",
        "peak x": f"{stage.peak / before.peak:.1f}" if before else "",
        "images x": growth,
    }


def measured_run(folder: Path, images: int, settings: Sequence[str]) -> list[Stage]:
    """Write a run, do it in another process, and leave its output folder."""
    shutil.rmtree(folder, ignore_errors=True)
    config = write_run(folder, images)
    command = [sys.executable, str(HERE / "stand_in_run.py"), "run", str(config), *settings, "--json-lines"]
    with (folder / "errors.txt").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        stages = _stages(process.pid, process.stdout)
        if process.wait():
            raise SystemExit((folder / "errors.txt").read_text())
    print(f"{images} images done", file=sys.stderr)
    return stages


def _stages(process: int, lines: Iterator[str]) -> list[Stage]:
    """What each stage took, from the events of the process; before the first, it starts and reads the datasets."""
    stages: dict[str, Stage] = {}
    last = Usage(time.monotonic(), 0.0, 0.0)

    def note(name: str) -> None:
        nonlocal last
        now = Usage.of(process)
        forget_peak(process)
        stage = stages.setdefault(name, Stage(name, 0.0, 0.0, 0.0))
        stage.seconds, stage.cpu = stage.seconds + now.seconds - last.seconds, stage.cpu + now.cpu - last.cpu
        stage.peak, last = max(stage.peak, now.peak), now

    for line in lines:
        event = json.loads(line)
        if event["event"] == "stage_begun" and not stages:
            note("start")
        if event["event"] == "stage_done":
            note(event["stage"])
            figures = f"{last.cpu:.1f} CPU seconds so far, at most {last.peak:.0f} MiB"
            print(f"{event['stage']} {event['group']}: {figures}", file=sys.stderr, flush=True)
    return list(stages.values())
