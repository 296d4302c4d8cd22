"""What a run consists of: its stages, in the order in which they are done."""

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
    """The stages that `lat run` does."""
    return tuple(stage.name for stage in STAGES if stage.is_in_run(config))


def plan(workspace: Workspace, stages: Collection[str]) -> Iterator[tuple[Workspace, list[Step]]]:
    """Some stages in the order in which they are done, round by round: each as the run seen from its round, and its steps.

    The steps of a stage are asked for when it is its turn, for they may depend on files that earlier ones have written.
    """
    for of_round in workspace.rounds():
        for stage in STAGES:
            if stage.is_of_round and stage.name in stages:
                yield of_round, list(stage.steps(of_round))
    for stage in STAGES:
        if not stage.is_of_round and stage.name in stages:
            yield workspace, list(stage.steps(workspace))


def all_steps(workspace: Workspace, stages: Collection[str]) -> list[Step]:
    """The steps of some stages as they are now."""
    return list(chain.from_iterable(steps for _, steps in plan(workspace, stages)))
