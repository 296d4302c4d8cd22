"""Runs with faults: a whole `lat run` of seconds, what can be done to it, and whether it ends with the same bytes.

The faults come from below: `faults/shim.c`, put under the process by LD_PRELOAD, counts whatever the run does to its folder, and
fails, cuts short or kills at the call that a plan names. The processes are forks of one that has imported everything
(`fault_zygote.py`), as a start costs more than a stage.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from fault_zygote import title_of
from pyarrow import parquet
from tiny import FEW_STEPS

from lat.commands.draw_street_scenes import benchmark_config
from lat.street_scenes import draw_street_scenes

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
MODES = ("count", "kill", "kill after", "signal", "fail once", "fail", "short", "room", "fail reads")


@dataclass(frozen=True)
class Plan:
    """What happens below a run. An event is a call that changes the folder of the run, counted from 1.

    Attributes:
        mode: `count`: nothing; `kill`: SIGKILL at event `at`, of a write after half of it; `kill after`: SIGKILL after `at`
            milliseconds on the CPU; `signal`: a signal at events `at`, `at + 1` and `at + 2`; `fail once`: event `at` fails;
            `fail`: it and all later ones; `short`: every write writes less than it was given; `room`: the disk is full after
            `at` bytes; `fail reads`: no file of the folder can be read.
        at: see `mode`.
        number: of the error with which something fails, or of the signal.
        group: the title of the group of steps with whose beginning the plan begins; "" for the beginning of the command.
        clock_seconds: how far the wall clock jumps, there and back, again and again.
    """

    mode: Literal["count", "kill", "kill after", "signal", "fail once", "fail", "short", "room", "fail reads"] = "count"
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
        with_shim: whether faults can be planned; see `has_compiler`.
    """

    def __init__(self, folder: Path, *, with_shim: bool = True) -> None:
        self.folder, self._count = folder, 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        if with_shim:
            environment["LD_PRELOAD"] = str(build_shim(folder))
        command = [sys.executable, str(Path(__file__).with_name("fault_zygote.py"))]
        self._zygote = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=Path(__file__).parents[1]
        )

    def start(self, arguments: Sequence[str], run: Path, plan: Plan) -> tuple[int, Path]:
        """Start a command; returns its process id and the path of its output without the ending."""
        self._count += 1
        log = self.folder / f"log-{self._count}"
        below = {**asdict(plan), "mode": MODES.index(plan.mode), "folder": f"{run}/"}
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
def opened_runs(folder: Path, *, with_shim: bool = True) -> Iterator[Runs]:
    """`Runs` until the block ends."""
    runs = Runs(folder, with_shim=with_shim)
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


def draw_faulty(folder: Path, images: int = 3) -> Path:
    """Draw two datasets of so many images, and write a configuration of a run of them; returns its path."""
    names = ("city", "nu")
    draw_street_scenes(folder / "data", train_images=dict.fromkeys(names, images), val_images=1, annotators="exact")
    path = folder / "config.yaml"
    path.write_text(benchmark_config(str(folder / "data"), str(folder / "run"), datasets=names), encoding="utf-8")
    return path


def command(config: Path, run: Path, *settings: str) -> list[str]:
    """`lat run` that tells programs what it does."""
    return ["run", str(config), "--json-lines", *SETTINGS, f"output_dir={run}", *settings]


@dataclass(frozen=True)
class Reference:
    """An undisturbed run.

    Attributes:
        config: its configuration.
        run: its folder.
        ended: how it ended, with the moments of its groups of steps.
        content: `all_content` of it.
    """

    config: Path
    run: Path
    ended: Ended
    content: dict[str, Any]

    @property
    def groups(self) -> list[str]:
        """Titles of all groups of steps in order."""
        return [title for title, _, _ in self.ended.moments]

    def events_of(self, group: str) -> int:
        """The number of events of a group."""
        place = self.groups.index(group)
        starts = [events for _, events, _ in self.ended.moments] + [self.ended.events]
        return starts[place + 1] - starts[place]

    def seconds_of(self, group: str) -> float:
        """The seconds on the CPU of a group."""
        place = self.groups.index(group)
        starts = [seconds for _, _, seconds in self.ended.moments]
        return starts[place + 1] - starts[place] if place + 1 < len(starts) else 0.3

    def begun_before(self, group: str, to: Path) -> Path:
        """A copy at `to` as the run was before a group of steps began, its hashes of files adapted to their new place."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.run, to)
        hashes = to / ".state" / "hashes.json"
        hashes.write_bytes(hashes.read_bytes().replace(f'"{self.run}/'.encode(), f'"{to}/'.encode()))
        _cut(to, self.groups[self.groups.index(group) :])
        return to

    def differences(self, run: Path) -> list[str]:
        """The files of another run that are not as here, or are missing there."""
        found = all_content(run)
        return sorted(name for name in found.keys() | self.content.keys() if found.get(name) != self.content.get(name))


def recorded_steps(run: Path) -> set[str]:
    """The names of the records of all steps that are done."""
    return {path.stem for path in (run / ".state").glob("*.json")} - {"hashes", "lock"}


def undisturbed(runs: Runs, folder: Path, images: int = 3) -> Reference:
    """Draw the data, and run everything."""
    config, run = draw_faulty(folder, images), folder / "undisturbed"
    ended = runs.lat(*command(config, run), run=run)
    assert ended.status == 0, ended.errors
    return Reference(config, run, ended, all_content(run))


def _cut(run: Path, groups: Sequence[str]) -> None:
    """Take from a finished run what some groups of steps have written, as if they had not begun."""
    for path in sorted((run / ".state").glob("*.json")):
        if path.name != "hashes.json" and _is_of(path.stem, groups):
            for output in json.loads(path.read_bytes())["outputs"]:
                (run / output).unlink(missing_ok=True)
                shutil.rmtree((run / ".work" / output).with_suffix(""), ignore_errors=True)
            path.unlink()
    if not (run / "report" / "index.html").exists():
        shutil.rmtree(run / "report")


def _is_of(record: str, groups: Sequence[str]) -> bool:
    """True if a record, named after its step, is of one of the groups, whose titles lack the member."""
    for group in groups:
        title, _, number = group.replace(" ", ".").partition(".round.")
        ending = f".round.{number}" if number else ""
        if re.fullmatch(rf"{re.escape(title)}(\.(?!held-out|round)[a-z]+)*{re.escape(ending)}", record):
            return True
    return False


def all_content(run: Path) -> dict[str, Any]:
    """Every file of a run by its path there, so that two runs that lie side by side can be compared. Exceptions:

    - TensorBoard's files have names and entries with times: of each folder the figures count, by name and step.
    - Modification times in `.state/hashes.json` and in the manifests of shards are left out.
    - `config.yaml` and the report's link to the labels name the folder of the run itself.
    """
    content: dict[str, Any] = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.is_dir():
            continue
        if path.parent.name == "tensorboard":
            content.setdefault(str(path.parent.relative_to(run)), set()).update(figures(path))
        elif name == ".state/hashes.json":
            hashes = json.loads(path.read_bytes())
            content[name] = {key.removeprefix(f"{run}/"): [size, sha] for key, (size, _, sha) in hashes.items()}
        elif path.name == "manifest.json" and name.startswith(".work/"):
            content[name] = re.sub(rb'"mtime_ns": \d+', b"", path.read_bytes())
        else:
            content[name] = path.read_bytes().replace(os.fsencode(run), b"RUN")
    return content


def figures(path: Path) -> set[tuple[str, int, float]]:
    """Name, step and value of every figure in a file of TensorBoard."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    return {
        (value.tag, event.step, float(make_ndarray(value.tensor)))
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    }


def torn_files(run: Path) -> list[str]:
    """The files of a run, at whatever moment, that a reader would find half-written; temporary names and the report's aside."""
    torn = [path for path in sorted(run.rglob("*")) if path.is_file() and not _is_whole(path)]
    if (run / "report").is_dir() and not (run / "report" / "index.html").is_file():
        torn.append(run / "report")
    return [str(path.relative_to(run)) for path in torn]


def _is_whole(path: Path) -> bool:
    if path.name.endswith(".tmp") or ".report.part" in path.parts or path.name == "lock.json":
        return True
    try:
        match path.suffix:
            case ".json":
                json.loads(path.read_bytes())
            case ".jsonl":  # the last line may be cut
                [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
            case ".parquet":
                parquet.read_metadata(path)
            case ".pt":
                torch.load(path, weights_only=True)
    except Exception:
        return False
    return True
