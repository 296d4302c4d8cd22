"""Do a share of a run's shards, as one of many processes that know nothing of each other: `lat work`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from lat.config.load import Config
from lat.core.errors import InputError
from lat.core.remote import is_file
from lat.engine.executors import Share, ShareIsDone
from lat.pipeline.plan import STAGES, pass_gate, plan, stages_of_run
from lat.stages import label_transfer
from lat.workspace.devices import DevicesForShare
from lat.workspace.run_folder import url_folder
from lat.workspace.step_records import StepRecords
from lat.workspace.steps import Step
from lat.workspace.workspace import Workspace

SHARDED = tuple(stage.name for stage in STAGES if stage.is_sharded)
SEES_FEATURES = label_transfer.STAGE.name


def work(workspace: Workspace, say: Callable[[str], None]) -> list[str]:
    """Do this process's share of every sharded step that is out of date and whose inputs are not, and of features on disk.

    Nothing but shards and features is written: the run's own command joins them, and trains.

    Args:
        workspace: the run, whose executor is a `Share`.
        say: prints a line of progress.

    Returns:
        The titles of the steps, and of features, of which a share was done.

    Raises:
        InputError: if what earlier stages found forbids a step.
    """
    records = StepRecords(workspace)
    done: list[str] = []
    for of_round, steps in _ready(records):
        if steps[0].stage == SEES_FEATURES:
            done += _share_of_features(of_round)
            continue
        pass_gate(of_round, steps)
        hashes = {step.member: records.inputs_hash(step) for step in steps}
        done += [step.title for step in steps]
        say(done[-1])
        try:
            steps[0].run(of_round, due=hashes)
        except ShareIsDone:
            continue
        for step in steps:  # a preparation, which every share needs whole
            records.note(step, hashes[step.member])
    return done


def _share_of_features(workspace: Workspace) -> list[str]:
    """Do this process's share of the features that training needs; returns their title, if they are kept on disk."""
    try:
        label_transfer.share_out_features(workspace)
    except ShareIsDone as done:
        return [str(done)]
    return []


def share_of_run(config: Config, shard: str) -> Workspace:
    """A run seen from the process that does a share of its shards.

    Args:
        config: the run's settings.
        shard: which share, as I/N with 0 <= I < N.

    Raises:
        InputError: if it is written otherwise.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    part, parts = map(int, found.groups()) if found else (0, 0)
    if part >= parts:
        raise InputError("--shard", f"is '{shard}'", "write I/N, with I from 0 to N - 1: 0/16 is the first of 16 shares")
    if url_folder(config.output_dir) is not None:
        remedy = "name a folder that all machines share, or start `lat run` alone"
        raise InputError("output_dir", f"is {config.output_dir}, and `lat work` needs a folder", remedy)
    return Workspace(config, devices=DevicesForShare(config, Share(part, parts)))


def _ready(records: StepRecords) -> Iterator[tuple[Workspace, Sequence[Step]]]:
    """The steps that are sharded or see features, group by group, that are out of date while everything that they read is up to
    date.

    The next group is looked for when the last one is done, so that what a preparation wrote counts.
    """
    pending: set[Path] = set()  # files that are yet to be written
    for of_round, steps in plan(records.workspace, stages_of_run(records.workspace.config)):
        for (stage, _), members in groupby(steps, key=lambda step: (step.stage, step.group)):
            outdated = []
            for step in members:
                is_blocked = not pending.isdisjoint(step.inputs) or not all(map(is_file, step.inputs))
                if is_blocked:
                    pending.update(step.outputs)
                elif not records.is_current(step):
                    outdated.append(step)
            if outdated and stage in (*SHARDED, SEES_FEATURES):
                yield of_round, outdated
            pending.update(output for step in outdated if not records.is_current(step) for output in step.outputs)
