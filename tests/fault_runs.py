"""Runs with faults: a whole `lat run` of seconds, what can be done to it, and whether it ends with the same bytes.

The faults come from below: `faults/shim.c`, put under the process by LD_PRELOAD, counts whatever the run does to its folder, and
fails, cuts short or kills at the call that a plan names. The processes are forks of one that has imported everything
(`fault_zygote.py`), as a start costs more than a stage.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from fault_zygote import title_of
from tiny import FEW_STEPS

SETTINGS = [
    *FEW_STEPS,
    "target=city",
    "rounds.count=1",
    "rounds.labels.trained_threshold=0.1",
    "rounds.labels.ignore_threshold=0.05",
    "downstream.in_run=true",
    "downstream.training.steps=3",
    "downstream.training.batch_size=2",
]
MODES = ("count", "kill", "kill after", "signal", "fail", "short", "fail reads")


@dataclass(frozen=True)
class Plan:
    """What happens below a run. An event is a call that changes the folder of the run, counted from 1.

    Attributes:
        mode: `count`: nothing; `kill`: SIGKILL at event `at`, of a write after half of it, or at the end of `group` if it comes
            to fewer; `kill after`: SIGKILL after `at` milliseconds on the CPU; `signal`: a signal at events `at`, `at + 1` and
            `at + 2`; `fail`: event `at` fails, and all later ones but removing; `short`: every write writes less than it was
            given; `fail reads`: no file can be read.
        at: see `mode`.
        number: of the error with which something fails, or of the signal.
        group: the title of the group of steps with whose beginning the plan begins; "" for the beginning of the command.
        clock_seconds: how far the wall clock jumps, there and back, again and again.
    """

    mode: Literal["count", "kill", "kill after", "signal", "fail", "short", "fail reads"] = "count"
    at: int = 0
    number: int = errno.ENOSPC
    group: str = ""
    clock_seconds: int = 0


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: exit status; negative for a signal.
        log: path of its output without the ending.
    """

    status: int
    log: Path

    @cached_property
    def errors(self) -> str:
        return Path(f"{self.log}.err").read_text(encoding="utf-8")

    @cached_property
    def told(self) -> list[dict[str, Any]]:
        """The events that it told programs; the last line may be cut by a kill."""
        lines = Path(f"{self.log}.out").read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    @property
    def begun(self) -> list[str]:
        """Titles of the groups of steps that it began."""
        return [title_of(each) for each in self.told if each["event"] == "stage_begun"]

    def done_again(self, recorded: set[str]) -> set[str]:
        """Which steps it began of those that had been recorded as done; see `recorded_steps`."""
        begun = [each for each in self.told if each["event"] == "stage_begun"]
        steps = {title_of(each, member).replace(" ", ".") for each in begun for member in each["members"] or [""]}
        return steps & recorded

    @property
    def events(self) -> int:
        """How many events it came to; only if it was not killed, and the shim was there."""
        return int(Path(f"{self.log}.events").read_text())

    @cached_property
    def moments(self) -> list[tuple[str, int, float]]:
        """Of each group of steps: its title, and the events and the seconds on the CPU before it began."""
        lines = Path(f"{self.log}.moments").read_text(encoding="utf-8").splitlines()
        return [(title, events, seconds) for title, events, seconds in map(json.loads, lines)]

    @property
    def line(self) -> str:
        """The only line on standard error.

        Raises:
            AssertionError: if there are more, or none.
        """
        lines = [line for line in self.errors.splitlines() if line]
        assert len(lines) == 1, self.errors
        return lines[0]


class Runs:
    """Starts `lat` in processes that have imported everything.

    Args:
        folder: gets the shim, and what commands print.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._count = folder, 0
        shim = str(build_shim(folder))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "LD_PRELOAD": shim}
        command = [sys.executable, str(Path(__file__).with_name("fault_zygote.py"))]
        self._zygote = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=Path(__file__).parents[1]
        )

    def start(self, arguments: Sequence[str], run: Path, plan: Plan) -> tuple[int, Path]:
        """Start a command; returns its process id and the path of its output without the ending."""
        self._count += 1
        log = self.folder / f"log-{self._count}"
        below = {**asdict(plan), "mode": MODES.index(plan.mode), "is_kill": plan.mode == "kill", "folder": f"{run}/"}
        answer = self._ask({"start": {"arguments": list(arguments), "log": str(log), "plan": below}})
        return int(answer["pid"]), log

    def wait(self, pid: int, log: Path) -> Ended:
        return Ended(int(self._ask({"wait": pid})["status"]), log)

    def lat(self, *arguments: str, run: Path, plan: Plan = Plan()) -> Ended:
        """Run a command to its end; `run` is the folder whose changes count as events."""
        return self.wait(*self.start(arguments, run, plan))

    def close(self) -> None:
        assert self._zygote.stdin is not None
        self._zygote.stdin.close()
        self._zygote.wait(60)

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.write(json.dumps(order) + "\n")
        self._zygote.stdin.flush()
        answer: dict[str, Any] = json.loads(self._zygote.stdout.readline())
        return answer


@contextmanager
def opened_runs(folder: Path) -> Iterator[Runs]:
    """`Runs` until the block ends."""
    runs = Runs(folder)
    try:
        yield runs
    finally:
        runs.close()


def compiler() -> str | None:
    """The C compiler of this machine; None if there is none, or the system has no LD_PRELOAD."""
    return (shutil.which("cc") or shutil.which("gcc")) if sys.platform == "linux" else None


def build_shim(folder: Path) -> Path:
    """Compile the shim into a folder."""
    source, built = Path(__file__).parent / "faults" / "shim.c", folder / "shim.so"
    found = compiler()
    assert found is not None
    subprocess.run([found, "-shared", "-fPIC", "-O1", "-o", str(built), str(source), "-ldl"], check=True)
    return built


def command(config: Path, run: Path, *settings: str) -> list[str]:
    """`lat run` that tells programs what it does."""
    return ["run", str(config), "--json-lines", *SETTINGS, f"output_dir={run}", *settings]
