"""The plan of a run: its stages in order of execution."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain

from lat.config.load import Config
from lat.stages import evaluate, label_transfer, pseudo_label, report, upstream
from lat.stages.downstream import downstream_stage
from lat.stages.transfer import transfer_stage
from lat.workspace.steps import Stage, Step
from lat.workspace.workspace import Workspace

STAGES: tuple[Stage, ...] = (
    upstream.STAGE,
    pseudo_label.STAGE,
    label_transfer.STAGE,
    transfer_stage.STAGE,
    downstream_stage.STAGE,
    evaluate.STAGE,
    report.STAGE,
)
ROUND = tuple(stage.name for stage in STAGES if stage.is_of_round)
_GATES = {stage.name: stage.gate for stage in STAGES}


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


def pass_gate(workspace: Workspace, steps: Sequence[Step]) -> None:
    """Raise an `InputError` if what earlier stages found forbids these steps of one stage and round."""
    if steps:
        workspace.processes.from_first(_GATES[steps[0].stage], workspace, steps)


def all_steps(workspace: Workspace, stages: Collection[str]) -> list[Step]:
    """The current steps of some stages."""
    return list(chain.from_iterable(steps for _, steps in plan(workspace, stages)))
