"""Doing a run: which of its steps are up to date, and doing the others.

The stages up to `transfer` are a round; further ones (`rounds.count`) do them again with what the round before transferred.

Outputs of one step are inputs of the next by content, so a step that is done again with the same result does not set off the
ones after it. Every step's files appear whole or not at all and are noted once they are there: a run that was stopped at any
moment goes on from there and ends with the same bytes.

Of several processes the first decides what is to be done, and notes what has been; the others follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import yaml

from lat.core.errors import InputError
from lat.core.files import write_atomically
from lat.engine import announce
from lat.pipeline.plan import HELD_OUT, LABELS, ROUND, all_stages, plan
from lat.stages.downstream.labels import write_downstream_labels
from lat.stages.downstream.train import train_downstream
from lat.stages.evaluate import evaluate
from lat.stages.label_transfer import train_label_transfer
from lat.stages.pseudo_label import label_held_out, pseudo_label
from lat.stages.report import report
from lat.stages.shared.relation_files import require_relations
from lat.stages.transfer.class_shares import learn_class_shares
from lat.stages.transfer.transfer import transfer
from lat.stages.upstream import train_upstream
from lat.workspace.records import Records, Step
from lat.workspace.workspace import Workspace, require

ALL_UPSTREAM = "all"  # in place of a group: steps of all datasets


def run_stages(
    workspace: Workspace,
    stages: Sequence[str] | None = None,
    *,
    select: Callable[[Step], bool] = lambda step: True,
    force: bool = False,
    say: Callable[[str], None] = announce.say,
) -> list[Step]:
    """Do every step of the chosen stages that is not up to date.

    Args:
        workspace: the run.
        stages: commands of the stages to do, in any order; by default all that the configuration has. A further round is left
            for later, and `say` told so, where what comes before it is not up to date.
        select: of their steps, those to do.
        force: do them although they are up to date.
        say: prints a line of progress.

    Returns:
        The steps that were done.

    Raises:
        InputError: if a file of an earlier stage is missing; it names the command that writes it.
    """
    processes = workspace.processes
    say = say if processes.is_first else _say_nothing
    steps = [step for step in plan(workspace, stages or all_stages(workspace)) if select(step)]
    is_yolo = workspace.config.downstream.detector == "yolo"
    if processes.size > 1 and is_yolo and any(step.stage == "train-downstream" for step in steps):
        remedy = "set downstream.in_run=false, and start `lat train-downstream` without torchrun or srun"
        raise InputError("downstream.detector", "is yolo, which trains in one process", remedy)
    processes.from_first(_begin, workspace, say)
    records = Records(workspace)
    done: list[Step] = []
    for (number, *_), members in groupby(steps, key=lambda step: (step.round, step.stage, _together(workspace, step))):
        candidates = list(members)
        hashes = processes.from_first(_outdated, records, candidates, force)
        if hashes is None:
            say(f"round {number} is left for later: what comes before is not up to date; `lat run` does every stage")
            break
        outdated = [step for step in candidates if step.title in hashes]
        if not outdated:
            continue
        for (stage, group), same in groupby(outdated, key=lambda step: (step.stage, step.group)):
            ending = f"(round {number})" if number else ""
            say(" ".join(part for part in (stage, group, *(step.member for step in same), ending) if part))
        _do_steps(workspace.at(number) if outdated[0].stage in ROUND else workspace, records, outdated, hashes)
        done += outdated
    records.save()
    return done


def _together(workspace: Workspace, step: Step) -> str:
    """What steps of a stage have in common that are done in one go."""
    return ALL_UPSTREAM if _goes_apart(workspace, step) else step.group


def _goes_apart(workspace: Workspace, step: Step) -> bool:
    """True if a step is for one process alone, while others do the like of it."""
    is_split = workspace.processes.size > 1 and workspace.config.runtime.upstream_parallel == "datasets"
    return step.stage == "train-upstream" and is_split


def _do_steps(workspace: Workspace, records: Records, steps: Sequence[Step], hashes: Mapping[str, str]) -> None:
    """Do steps and note them, group by group; each in one process, if they go apart."""
    seen, mine = workspace, steps
    if _goes_apart(workspace, steps[0]):
        seen, mine = workspace.alone(), workspace.processes.share(steps)
    written: list[Path] = []
    for (stage, group), members in groupby(mine, key=lambda step: (step.stage, step.group)):
        same = list(members)
        names = [step.member for step in same if step.member]
        with announce.work("stage", stage=stage, round=same[0].round, group=group, members=names):
            _do(seen, stage, group, {step.member: hashes[step.title] for step in same})
        if seen.processes.is_first:
            for step in same:
                records.note(step, hashes[step.title])
                written += step.outputs
    workspace.processes.settle(written)


def _say_nothing(line: str) -> None:
    """What processes other than the first have to say."""


def _begin(workspace: Workspace, say: Callable[[str], None]) -> None:
    """Write the resolved configuration, and say what is wrong with the data and mended in memory."""
    content = yaml.safe_dump(workspace.config.to_dict(), sort_keys=False, allow_unicode=True)
    write_atomically(workspace.resolved_config, content)
    tables = [workspace.train_part(name).labels for name in workspace.names]
    tables += [table for labels in workspace.label_sets.values() for table in labels.tables.values()]
    for labels in tables:
        for what, count in labels.repairs.items():
            say(f"{labels.path}: repaired in memory: {what}: {count}")


def _outdated(records: Records, steps: Sequence[Step], force: bool) -> dict[str, str] | None:
    """By title, the hash of what goes in for each of some steps that is not up to date; None if their round has to wait."""
    outdated = [step for step in steps if force or not records.is_current(step)]
    if outdated and outdated[0].round and not _can_begin(records, outdated):
        return None
    _require_inputs(outdated)
    return {step.title: records.inputs_hash(step) for step in outdated}


def _can_begin(records: Records, steps: Sequence[Step]) -> bool:
    """True if the rounds before that of these steps are up to date, and their inputs are there."""
    earlier = (step for step in plan(records.workspace, ROUND) if step.round < steps[0].round)
    return all(map(records.is_current, earlier)) and all(path.is_file() for step in steps for path in step.inputs)


def _do(workspace: Workspace, stage: str, group: str, inputs: dict[str, str]) -> None:
    """Do the steps of one group of a round; `inputs` has the hash of what goes in for each of its members."""
    match stage:
        case "train-upstream":
            train_upstream(workspace, group, inputs[""])
        case "pseudo-label" if group.endswith(HELD_OUT):
            label_held_out(workspace, group.removesuffix(HELD_OUT), list(inputs))
        case "pseudo-label":
            pseudo_label(workspace, group, list(inputs))
        case "train-lat":
            train_label_transfer(workspace, inputs[""])
        case "transfer":
            transfer(workspace, group, list(inputs)) if group else learn_class_shares(workspace)
        case "train-downstream" if group.endswith(LABELS):
            write_downstream_labels(workspace, group.removesuffix(LABELS), inputs[workspace.config.downstream.name])
        case "train-downstream":
            train_downstream(workspace, group, inputs[workspace.config.downstream.name])
        case "evaluate":
            workspace.processes.from_first(evaluate, workspace)
        case "report":
            workspace.processes.from_first(report, workspace)


def _require_inputs(steps: Sequence[Step]) -> None:
    commands = {"upstream": "lat train-upstream", "pseudo_labels": "lat pseudo-label", "lat": "lat train-lat"}
    commands |= {"transferred": "lat transfer", "downstream": "lat train-downstream", "evaluation.json": "lat evaluate"}
    for path in (path for step in steps for path in step.inputs):
        if path.parent.name == "relations":
            require_relations(path)
        folder = next((part for part in path.parts[::-1] if part in commands), "")
        require(path, commands.get(folder, "lat run"))
