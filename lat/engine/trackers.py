"""Who shows the figures of a training besides `log.jsonl`: TensorBoard, and Weights & Biases or MLflow, which may be on a server.

A tracker is a module with a class and a line in `_SERVERS`; its package is an extra of this one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from lat.core.documents import parse_json
from lat.core.errors import InputError
from lat.core.files import write_atomically
from lat.engine.announce import say
from lat.engine.tensorboard_file import TensorboardFile
from lat.engine.tracked_run import TrackedRun

MEMORY = "trackers.json"
"""Beside `log.jsonl`: which run of each server a training belongs to, and up to which step it has figures."""

_SERVERS = {"wandb": "lat.engine.wandb_tracker:WandbTracker", "mlflow": "lat.engine.mlflow_tracker:MlflowTracker"}
_LONGEST = 200  # characters of what a server says


class Tracker(Protocol):
    """Shows the figures of one training."""

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Show figures by name, after `step` steps."""
        ...

    def close(self, outcome: str) -> None:
        """End with the outcome of the training: finished, killed or failed."""
        ...


def check_trackers(names: Iterable[str]) -> None:
    """Check, before hours pass, that trackers can be used.

    Args:
        names: of `training.trackers`.

    Raises:
        InputError: if a package is missing, with the command that installs it, or nobody has logged in to a server.
    """
    for name in names:
        if find_spec(name) is None:
            extra = f"[{name}]" if name in _SERVERS else ""
            remedy = f"pip install 'lat-detection{extra}', or leave it out"
            raise InputError("training.trackers", f"names {name}, which is not installed", remedy)
        if name in _SERVERS:
            _class_of(name).check()


def _class_of(name: str) -> Any:
    module, _, of_class = _SERVERS[name].partition(":")
    return getattr(import_module(module), of_class)


def open_trackers(names: Iterable[str], out_dir: Path, run: TrackedRun, lines: Sequence[str]) -> list[Tracker]:
    """Begin to show a training, or go on.

    Args:
        names: of `training.trackers`.
        out_dir: the folder of the training.
        run: what it is called.
        lines: its lines of `log.jsonl` so far; none if it begins, and then servers get a new run.

    Raises:
        InputError: if the file of TensorBoard cannot be written. What a server refuses is a warning.
    """
    found: list[Tracker] = []
    for name in names:
        tracker: Tracker
        if name in _SERVERS:
            tracker = _OnServer(name, out_dir / MEMORY, run, is_resumed=bool(lines))
        else:
            tracker = TensorboardFile(out_dir / "tensorboard")
        found.append(tracker)
        for line in lines:
            show(tracker, json.loads(line))
    return found


def show(tracker: Tracker, line: Mapping[str, Any]) -> None:
    """Show a line of `log.jsonl`."""
    tracker.add(int(line["step"]), {name: value for name, value in line.items() if name != "step"})


class _OnServer:
    """A tracker that may fail at any time: the first failure is a warning, and the training goes on without it.

    A step is shown once, however often a training is killed and goes on.
    """

    def __init__(self, name: str, memory: Path, run: TrackedRun, *, is_resumed: bool) -> None:
        self._name, self._memory = name, memory
        self._known = _read(memory).get(name) if is_resumed else None
        self._tracker: Any = None
        self._try(lambda: self._open(run))

    def _open(self, run: TrackedRun) -> None:
        self._tracker = _class_of(self._name)(run, self._known and self._known["id"], uuid4().hex[:16])
        if self._known is None:
            self._remember({"id": self._tracker.id, "step": 0})

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Show figures that were not shown."""
        self._try(lambda: self._add(step, figures))

    def _add(self, step: int, figures: Mapping[str, float]) -> None:
        if self._tracker is None or self._known is None or step <= self._known["step"]:
            return
        self._tracker.add(step, figures)
        self._remember({**self._known, "step": step})

    def close(self, outcome: str) -> None:
        """End the run of the server."""
        if (tracker := self._tracker) is not None:
            self._try(lambda: tracker.close(outcome))

    def _remember(self, known: dict[str, Any]) -> None:
        self._known = known
        write_atomically(self._memory, json.dumps({**_read(self._memory), self._name: known}) + "\n")

    def _try(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:  # whatever a library raises
            self._tracker = None
            said = " ".join(str(error).split()) or type(error).__name__
            say(f"warning: {self._name} shows no more of this training ({said[:_LONGEST]}); log.jsonl has all figures")


def _read(memory: Path) -> dict[str, Any]:
    """What is remembered of each tracker; nothing if the file is missing or damaged."""
    try:
        found = parse_json(memory.read_bytes())
        return {name: {"id": str(one["id"]), "step": int(one["step"])} for name, one in found.items()}
    except (OSError, TypeError, ValueError, LookupError, AttributeError):
        return {}
