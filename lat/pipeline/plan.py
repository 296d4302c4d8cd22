"""The plan of a run: its stages in order of execution."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain

from lat.config.load import Config
from lat.stages import evaluate, label_transfer, pseudo_label, report, upstream
from lat.stages.downstream import stage as downstream
from lat.stages.transfer import stage as transfer
from lat.workspace.steps import Stage, Step
from lat.workspace.workspace import Workspace

STAGES: tuple[Stage, ...] = (
    upstream.STAGE,
    pseudo_label.STAGE,
    label_transfer.STAGE,
    transfer.STAGE,
    downstream.STAGE,
    evaluate.STAGE,
    report.STAGE,
)
ROUND = tuple(stage.name for stage in STAGES if stage.is_of_round)


def stages_of_run(config: Config) -> tuple[str, ...]:
    """The stages that `lat run` executes."""
    return tuple(stage.name for stage in STAGES if stage.is_in_run(config))


def plan(workspace: Workspace, stages: Collection[str]) -> Iterator[tuple[Workspace, list[Step]]]:
    """Yield the given stages in order of execution, round by round: the run seen from the round, and the stage's steps.

    A stage's steps are built only when its turn comes, because they may depend on files that earlier stages wrote.
    """
    for of_round in workspace.rounds():
        for stage in STAGES:
            if stage.is_of_round and stage.name in stages:
                yield of_round, list(stage.steps(of_round))
    for stage in STAGES:
        if not stage.is_of_round and stage.name in stages:
            yield workspace, list(stage.steps(workspace))


def all_steps(workspace: Workspace, stages: Collection[str]) -> list[Step]:
    """The current steps of some stages."""
    return list(chain.from_iterable(steps for _, steps in plan(workspace, stages)))
