"""Execute a run: find the steps that are out of date, and run them.

The stages up to `transfer` form a round; further rounds (`rounds.count`) repeat them with the labels that the previous one
transferred.

Steps depend on each other by file content, so rerunning a step with the same result does not trigger later ones. A step's
files appear whole or not at all and are recorded once they exist: a run interrupted at any moment continues from there and
ends with the same bytes.

With several processes, the first decides what to run and records what is done; the others follow.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

import yaml

from lat.config.places import absolute, seen_from
from lat.core.files import remove_leftovers, write_atomically
from lat.core.remote import is_file, name_of
from lat.engine import announce
from lat.pipeline.made_with import require_made_with, tell_renamed
from lat.pipeline.plan import ROUND, STAGES, all_steps, pass_gate, plan, stages_of_run
from lat.pipeline.ray_steps import TRAINING, described, train_on_ray
from lat.stages.shared.relation_files import require_relations
from lat.stages.shared.unused_features import remove_unused_features
from lat.workspace.label_shards import work_folder
from lat.workspace.paths import FOLDERS, require
from lat.workspace.run_folder import at_work_in, url_folder
from lat.workspace.step_records import StepRecords
from lat.workspace.steps import Step
from lat.workspace.workspace import Workspace


def run_stages(
    workspace: Workspace,
    stages: Collection[str] | None = None,
    *,
    select: Callable[[Step], bool] = lambda step: True,
    force: bool = False,
    say: Callable[[str], None] = announce.say,
) -> list[Step]:
    """Do every step of the chosen stages that is not up to date; after all stages, remove cached features that nothing uses.

    Args:
        workspace: the run.
        stages: commands of the stages to run, in any order; by default all that the configuration has. A later round is
            skipped, with a message through `say`, if the rounds before it are not up to date.
        select: which of their steps to run.
        force: run steps even if they are up to date.
        say: prints a line of progress.

    Returns:
        The steps that ran.

    Raises:
        InputError: if a file of an earlier stage is missing; it names the command that writes it. Also if another command is at
            work in the folder of the run (see `run_lock`), it was made with other settings (see `require_made_with`), or a
            detector is too weak to label with (`upstream.min_ap`).
    """
    processes = workspace.processes
    say = say if processes.is_first else _say_nothing
    chosen = stages_of_run(workspace.config) if stages is None else stages
    for stage in STAGES:
        if stage.name in chosen:
            stage.check(workspace)
    with ExitStack() as held:
        processes.from_first(held.enter_context, at_work_in(workspace.config.output_dir))
        require_made_with(workspace, chosen)
        processes.from_first(remove_leftovers, workspace.paths.root, FOLDERS)
        processes.from_first(_tell_repairs, workspace, say)
        processes.from_first(tell_renamed, workspace, say)
        done = _run_steps(workspace, _groups(workspace, chosen, select), force, say)
        if stages is None:
            processes.from_first(remove_unused_features, workspace, say)
    return done


def _run_steps(
    workspace: Workspace, groups: Iterable[tuple[Workspace, list[Step]]], force: bool, say: Callable[[str], None]
) -> list[Step]:
    """Do the steps of some groups that are not up to date, or all if forced; returns them."""
    processes, records, is_begun = workspace.processes, StepRecords(workspace), False
    done: list[Step] = []
    for of_round, candidates in groups:
        hashes = processes.from_first(_outdated, records, candidates, force)
        if hashes is None:
            number = of_round.round
            say(f"round {number} is skipped: an earlier stage is not up to date; `lat run` runs every stage")
            break
        if not is_begun:  # a run that cannot even begin leaves the configuration of the one before
            processes.from_first(_write_config, workspace)
            is_begun = True
        outdated = [step for step in candidates if step.title in hashes]
        if outdated:
            _say_what(outdated, say)
            if force:
                processes.from_first(_drop_shards, workspace, outdated)
            _do(of_round, records, outdated, hashes)
            done += outdated
    records.save()
    workspace.devices.release()
    return done


def _groups(
    workspace: Workspace, stages: Collection[str], select: Callable[[Step], bool]
) -> Iterator[tuple[Workspace, list[Step]]]:
    """The steps that run together, with the run seen from their round: those of one group, or all that run apart."""
    for of_round, steps in plan(workspace, stages):
        chosen = list(filter(select, steps))
        pass_gate(of_round, chosen)
        for _, members in groupby(chosen, key=lambda step: None if step.is_apart else step.group):
            yield of_round, list(members)


def _say_what(steps: Sequence[Step], say: Callable[[str], None]) -> None:
    for (stage, group), same in groupby(steps, key=lambda step: (step.stage, step.group)):
        ending = f"(round {steps[0].round})" if steps[0].round else ""
        say(" ".join(part for part in (stage, group, *(step.member for step in same), ending) if part))


def _do(workspace: Workspace, records: StepRecords, steps: Sequence[Step], hashes: Mapping[str, str]) -> None:
    """Run and record steps group by group; groups that run apart take one process each, and training the workers of Ray."""
    if workspace.config.runtime.executor == "ray" and steps[0].stage in TRAINING:
        for same in train_on_ray(workspace, _grouped(steps), hashes):
            _note(records, same, hashes)
            _store(workspace)
        return
    worker, mine, written = workspace, steps, list[Path]()
    if steps[0].is_apart:
        worker, mine = workspace.alone(), workspace.processes.share(steps)
    for same in _grouped(mine):
        with announce.work("stage", **described(same)):
            reading = worker.reading(path for step in same for path in step.inputs)
            same[0].run(reading, due={step.member: hashes[step.title] for step in same})
        if worker.processes.is_first:
            written += _note(records, same, hashes)
            _store(workspace)
    workspace.processes.settle(written)


def _drop_shards(workspace: Workspace, steps: Sequence[Step]) -> None:
    """Delete what an earlier run of these steps has done in shards, so that all of it is done again."""
    root = workspace.paths.root
    for output in (output for step in steps for output in step.outputs):
        shutil.rmtree(work_folder(root, output), ignore_errors=True)


def _grouped(steps: Sequence[Step]) -> list[list[Step]]:
    """The steps of each group."""
    return [list(members) for _, members in groupby(steps, key=lambda step: (step.stage, step.group))]


def _note(records: StepRecords, steps: Sequence[Step], hashes: Mapping[str, str]) -> list[Path]:
    """Record steps as done; returns their outputs."""
    for step in steps:
        records.note(step, hashes[step.title])
    return [path for step in steps for path in step.outputs]


def _store(workspace: Workspace) -> None:
    """Write what steps have changed to the URL of the run's folder, if it is at one."""
    folder = url_folder(workspace.config.output_dir)
    if folder is not None:
        folder.push()


def _say_nothing(line: str) -> None:
    """The `say` of all processes but the first."""


def _write_config(workspace: Workspace) -> None:
    """Write the resolved configuration, with paths that count from the run's folder, as those of any file count from its own."""
    folder, settings = workspace.paths.root, workspace.config.to_dict()
    if url_folder(workspace.config.output_dir) is None:
        settings = {**seen_from(folder, settings), "output_dir": "."}
    else:
        settings = absolute(settings)
    content = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    write_atomically(workspace.paths.resolved_config, content)


def _tell_repairs(workspace: Workspace, say: Callable[[str], None]) -> None:
    """Report what was repaired in the data in memory."""
    tables = [workspace.data.train_part(name).labels for name in workspace.names]
    tables += [table for labels in workspace.data.label_sets.values() for table in labels.tables.values()]
    for labels in tables:
        for what, count in labels.repairs.items():
            say(f"{name_of(labels.path)}: repaired in memory: {what}: {count}")


def _outdated(records: StepRecords, steps: Sequence[Step], force: bool) -> dict[str, str] | None:
    """The input hash, by title, of each step that is not up to date; None if their round has to wait."""
    outdated = [step for step in steps if force or not records.is_current(step)]
    if outdated and outdated[0].round and not _can_begin(records, outdated):
        return None
    _require_inputs(records.workspace, outdated)
    return {step.title: records.inputs_hash(step) for step in outdated}


def _can_begin(records: StepRecords, steps: Sequence[Step]) -> bool:
    """True if all rounds before that of these steps are up to date, and their inputs exist."""
    earlier = (step for step in all_steps(records.workspace, ROUND) if step.round < steps[0].round)
    return all(map(records.is_current, earlier)) and all(is_file(path) for step in steps for path in step.inputs)


def _require_inputs(workspace: Workspace, steps: Sequence[Step]) -> None:
    """Raise an `InputError` if an input of these steps is missing, naming the stage that writes it."""
    missing = next((path for step in steps for path in step.inputs if not is_file(path)), None)
    if missing is None:
        return
    if missing.parent == workspace.paths.relations_review.parent:
        require_relations(missing)
    every = all_steps(workspace, [stage.name for stage in STAGES])
    stage_of = {output: step.stage for step in every for output in step.outputs}
    require(missing, f"lat {stage_of.get(missing, 'run')}")
