"""Loss figures of a training run: `log.jsonl`, and the same for trackers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lat.core.documents import parse_json
from lat.core.files import write_atomically, writing
from lat.engine.tracked_run import TrackedRun
from lat.engine.trackers import Tracker, open_trackers, show

LOG_NAME = "log.jsonl"


class TrainingLog:
    """Writes lines with the mean losses since the previous line.

    A line is `{"step", "learning_rate", NAME: mean ..., "total": mean}`, with six digits; `step` counts finished steps, and
    nothing depends on the time, so the same run gives the same bytes.

    Args:
        out_dir: folder of `log.jsonl` and, for TensorBoard, of `tensorboard/`; None writes nothing (every process but the first).
        step: finished steps; lines of later steps, left by a killed run, are removed.
        trackers: who shows the figures of all lines, earlier ones too; see `open_trackers`.
        run: what trackers call the training; by default the name of `out_dir`.
    """

    def __init__(self, out_dir: Path | None, *, step: int, trackers: Sequence[str] = (), run: TrackedRun | None = None) -> None:
        self._out_dir, self._step, self._names, self._run = out_dir, step, trackers, run
        self._trackers: list[Tracker] = []
        self._sums: dict[str, float] = {}
        self._count = 0

    def __enter__(self) -> Self:
        if self._out_dir is not None:
            path = self._out_dir / LOG_NAME
            lines = _lines_until(path, self._step)
            write_atomically(path, "".join(lines))
            self._file = path.open("a", encoding="utf-8")
            run = self._run or TrackedRun(self._out_dir, self._out_dir.name, self._out_dir.name)
            self._trackers = open_trackers(self._names, self._out_dir, run, lines)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._out_dir is None:
            return
        try:
            with writing(self._out_dir / LOG_NAME):  # what a full disk did not take is tried again
                self._file.close()
        finally:
            for tracker in self._trackers:
                tracker.close("finished" if kind is None else "failed" if issubclass(kind, Exception) else "killed")

    def add(self, losses: Mapping[str, float]) -> None:
        """Add the losses of one step to the means of the next line; a loss that a step lacks counts as 0."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def write_line(self, step: int, learning_rate: float) -> None:
        """Write the mean losses since the previous line, after `step` finished steps."""
        means = {name: total / self._count for name, total in self._sums.items()}
        self._sums, self._count = {}, 0
        if self._out_dir is None:
            return
        figures = {"learning_rate": learning_rate, **means, "total": sum(means.values())}
        line = {"step": step, **{name: float(f"{value:.6g}") for name, value in figures.items()}}
        with writing(self._out_dir / LOG_NAME):
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
            self._file.flush()
        for tracker in self._trackers:
            show(tracker, line)

    def state(self) -> dict[str, Any]:
        """The state to checkpoint: sums and count since the last line."""
        return {"sums": dict(self._sums), "count": self._count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the `state()` of an earlier run."""
        self._sums, self._count = dict(state["sums"]), int(state["count"])


def _lines_until(path: Path, step: int) -> list[str]:
    """Complete lines of a log up to `step`; a killed run may have left more, and an incomplete last line."""
    if step == 0 or not path.is_file():
        return []
    whole = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in whole if _step_of(line) <= step]


def _step_of(line: str) -> float:
    """The step of a line; infinite for a damaged one, which is removed."""
    try:
        return float(parse_json(line.encode())["step"])
    except (TypeError, ValueError, LookupError):
        return float("inf")
