"""Do a share of a run's shards, as one of many processes that know nothing of each other: `lat work`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from lat.engine.executors import ShareIsDone
from lat.pipeline.plan import STAGES, plan, stages_of_run
from lat.workspace.step_records import StepRecords
from lat.workspace.steps import Step
from lat.workspace.workspace import Workspace

SHARDED = tuple(stage.name for stage in STAGES if stage.is_sharded)


def work(workspace: Workspace, say: Callable[[str], None]) -> list[str]:
    """Do this process's share of every sharded step that is out of date and whose inputs are not.

    Nothing but shards is written: the run's own command joins them, and trains.

    Args:
        workspace: the run, whose executor is a `Share`.
        say: prints a line of progress.

    Returns:
        The titles of the jobs of which a share was done.
    """
    records = StepRecords(workspace)
    done: list[str] = []
    for of_round, steps in _ready(records):
        say(" ".join(part for part in (steps[0].stage, steps[0].group, *(step.member for step in steps)) if part))
        try:
            steps[0].run(of_round, due={step.member: records.inputs_hash(step) for step in steps})
        except ShareIsDone as share:
            done.append(str(share))
    return done


def _ready(records: StepRecords) -> Iterator[tuple[Workspace, Sequence[Step]]]:
    """The sharded steps, group by group, that are out of date while everything that they read is up to date."""
    pending: set[Path] = set()  # files that are yet to be written
    for of_round, steps in plan(records.workspace, stages_of_run(records.workspace.config)):
        for (stage, _), members in groupby(steps, key=lambda step: (step.stage, step.group)):
            outdated = []
            for step in members:
                is_blocked = not pending.isdisjoint(step.inputs) or not all(path.is_file() for path in step.inputs)
                if is_blocked or not records.is_current(step):
                    pending.update(step.outputs)
                    outdated += [] if is_blocked else [step]
            if outdated and stage in SHARDED:
                yield of_round, outdated
