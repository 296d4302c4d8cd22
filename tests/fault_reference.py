"""The undisturbed run that disturbed ones are compared with, file by file."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fault_runs import Ended, Runs, command
from pyarrow import parquet

from lat.commands.draw_street_scenes import benchmark_config
from lat.street_scenes import SceneSettings, draw_street_scenes


def draw_faulty(folder: Path, images: int = 3) -> Path:
    """Draw two datasets of so many images, and write a configuration of a run of them; returns its path."""
    names = ("city", "nu")
    draw_street_scenes(
        folder / "data", SceneSettings(train_images=dict.fromkeys(names, images), val_images=1, annotators="exact")
    )
    path = folder / "config.yaml"
    path.write_text(benchmark_config(str(folder / "data"), str(folder / "run"), datasets=names), encoding="utf-8")
    return path


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
