"""Stages and their steps: what a run does, and what each part of it depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lat.config.load import Config
from lat.workspace.workspace import Workspace


class RunSteps(Protocol):
    """Does some steps of one group."""

    def __call__(self, workspace: Workspace, *, due: Mapping[str, str]) -> None:
        """Do them.

        Args:
            workspace: the run, seen from the round of the steps.
            due: for the member of each step, the hash of what goes in; a stopped training resumes only if it is unchanged.
        """


@dataclass(frozen=True)
class Step:
    """One part of a stage: what goes in, what comes out, and how it is done.

    Attributes:
        stage: the stage's command.
        group: the dataset that it works on, perhaps with a word behind it, or "" where the stage has one step; steps of one
            group are done together.
        member: the label space that it writes, or "" where a group has one step.
        settings: what it depends on, as plain types.
        data: datasets whose images and labels it reads.
        inputs: files that it reads: those of earlier steps, and files of weights.
        outputs: files that it writes.
        run: does the steps of its group; the same for all of them.
        round: the round to which it belongs.
        is_apart: of several processes, one does it alone while others do the like of it for other groups.
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
    """For stages that can begin with whatever the configuration says."""


@dataclass(frozen=True)
class Stage:
    """A stage of a run.

    Attributes:
        name: its command.
        steps: its steps; for a stage of a round, those of the round from which the workspace is seen.
        is_of_round: every round does it again.
        is_in_run: whether `lat run` does it, by the settings.
        check: raises an `InputError` before the first step of a run, where it is known by then that this stage would fail.
    """

    name: str
    steps: Callable[[Workspace], Iterator[Step]]
    is_of_round: bool = False
    is_in_run: Callable[[Config], bool] = _always
    check: Callable[[Workspace], None] = _nothing_to_check


def weights_file(name_or_path: str) -> tuple[Path, ...]:
    """The file of weights, if weights are a file."""
    return (Path(name_or_path),) if Path(name_or_path).is_file() else ()
