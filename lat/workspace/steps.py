"""Stages and steps: what a run does, and what each part depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lat.config.load import Config
from lat.workspace.workspace import Workspace


class RunSteps(Protocol):
    """Runs some steps of one group."""

    def __call__(self, workspace: Workspace, *, due: Mapping[str, str]) -> None:
        """Run them.

        Args:
            workspace: the run, seen from the round of the steps.
            due: the input hash of each step by its member; an interrupted training resumes only if it is unchanged.
        """


@dataclass(frozen=True)
class Step:
    """One part of a stage: its inputs, its outputs, and the function that runs it.

    Attributes:
        stage: the stage's command.
        group: the dataset that it works on, possibly followed by a word, or "" if the stage has one step; steps of one group
            run together.
        member: the label space that it writes, or "" if the group has one step.
        settings: the settings that it depends on, as plain types.
        data: datasets whose images and labels it reads.
        inputs: files that it reads: outputs of earlier steps, and weights.
        outputs: files that it writes.
        run: runs the steps of its group; all of them share it.
        round: the round that it belongs to.
        is_apart: True if one process runs it alone while the other processes run other groups.
        is_editable: True if its outputs are labels files in the space `member`: if a person changes them, they count as they are.
    """

    stage: str
    group: str
    member: str
    settings: Any
    data: tuple[str, ...]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    run: RunSteps
    round: int = 0
    is_apart: bool = False
    is_editable: bool = False

    @property
    def dataset(self) -> str:
        """The dataset that it works on, or ""."""
        return self.group.partition(" ")[0]

    @property
    def title(self) -> str:
        ending = f"round {self.round}" if self.round else ""
        return " ".join(part for part in (self.stage, self.group, self.member, ending) if part)


def _always(config: Config) -> bool:
    return True


def _nothing_to_check(workspace: Workspace) -> None:
    """For stages that any valid configuration allows to start."""


def _open(workspace: Workspace, steps: Sequence[Step]) -> None:
    """For stages that whatever earlier ones found allows to go on."""


@dataclass(frozen=True)
class Stage:
    """A stage of a run.

    Attributes:
        name: its command.
        steps: its steps; for a stage that every round repeats, those of the workspace's round.
        is_of_round: True if every round repeats it.
        is_sharded: True if its steps do their work in shards, see `lat.engine.jobs`.
        is_in_run: tells from the settings whether `lat run` includes it.
        check: raises an `InputError` before the first step of a run if this stage is bound to fail.
        gate: raises an `InputError` before some of its steps, up to date or not, if what earlier stages found forbids them.
    """

    name: str
    steps: Callable[[Workspace], Iterator[Step]]
    is_of_round: bool = False
    is_sharded: bool = False
    is_in_run: Callable[[Config], bool] = _always
    check: Callable[[Workspace], None] = _nothing_to_check
    gate: Callable[[Workspace, Sequence[Step]], None] = _open


def weights_file(name_or_path: str) -> tuple[Path, ...]:
    """The weights file, if the name is that of a file."""
    return (Path(name_or_path),) if Path(name_or_path).is_file() else ()
