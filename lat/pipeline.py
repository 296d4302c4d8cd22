"""The order of the stages: which steps a run has, which of them are up to date, and doing the others.

The stages up to `transfer` are a round; further ones (`rounds.count`) do them again with what the round before transferred.

Outputs of one step are inputs of the next by content, so a step that is done again with the same result does not set off the
ones after it. Every step's files appear whole or not at all and are noted once they are there: a run that was stopped at any
moment goes on from there and ends with the same bytes.

Of several processes the first decides what is to be done, and notes what has been; the others follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import yaml

from lat.data.files import write_atomically
from lat.detectors.base import DetectorSettings, describe_detector
from lat.engine import announce
from lat.errors import InputError
from lat.sections import DOWNSTREAM_METHODS, part_of
from lat.stages.downstream import train_downstream
from lat.stages.downstream_labels import WITHOUT_LABELS, label_inputs, label_settings, write_downstream_labels, writes_labels
from lat.stages.evaluate import evaluate
from lat.stages.joint_relations import relation_files, require_relations
from lat.stages.label_transfer import train_label_transfer
from lat.stages.priors import prior_files
from lat.stages.pseudo_label import label_held_out, pseudo_label
from lat.stages.records import Records, Step
from lat.stages.report import report
from lat.stages.transfer import transfer
from lat.stages.upstream import train_upstream
from lat.stages.workspace import Workspace, require

HELD_OUT = " held-out"  # behind the dataset in the group of steps that label held-out images
LABELS = " labels"  # behind the target in the group of the step that writes what its downstream detector trains on
ALL_UPSTREAM = "all"  # in place of a group: steps of all datasets
ROUND = ("train-upstream", "pseudo-label", "train-lat", "transfer")


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


def all_stages(workspace: Workspace) -> tuple[str, ...]:
    """The stages that `lat run` does."""
    downstream = ("train-downstream",) if workspace.config.downstream.in_run else ()
    return (*ROUND, *downstream, "evaluate", "report")


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
            transfer(workspace, group, list(inputs))
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


def plan(workspace: Workspace, stages: Sequence[str]) -> Iterator[Step]:
    """The steps of some stages in the order in which they are done: round by round, those of one group next to each other."""
    for seen in workspace.rounds():
        for stage in (stage for stage in ROUND if stage in stages):
            yield from _steps_of_round(seen, stage)
    if "train-downstream" in stages:
        for target in workspace.config.target_names:
            yield from _downstream_steps(workspace, target)
    if "evaluate" in stages:
        trained = map(workspace.downstream_metrics, workspace.config.target_names if "train-downstream" in stages else ())
        yield _evaluate_step(workspace, {*workspace.found_downstream(), *trained})
    if "report" in stages:
        yield _report_step(workspace)


def _steps_of_round(w: Workspace, stage: str) -> Iterator[Step]:
    match stage:
        case "train-upstream":
            yield from (_upstream_step(w, name) for name in w.names if name in w.renewed)
        case "pseudo-label":
            for name in w.names:
                yield from (_held_out_step(w, name, space) for space in _held_out_spaces(w, name) if space in w.renewed)
            for source in w.names:
                yield from (_pseudo_label_step(w, source, space) for space in w.others(source) if space in w.renewed)
        case "train-lat":
            yield _train_transfer_step(w)
        case "transfer":
            yield from (_transfer_step(w, source, target) for source, target in sorted(w.transfers()))


def _upstream_step(w: Workspace, name: str) -> Step:
    settings, upstream = w.config.to_dict(), w.config.upstream
    outputs = (w.upstream_model(name), w.upstream_metrics(name))
    if w.round:
        before = w.previous()
        transferred = tuple(before.transferred(source, name) for source in w.others(name))
        rounds = w.config.rounds.described(w.round)
        depends_on = [settings["upstream"], rounds, settings["seed"], settings["runtime"]["precision"]]
        inputs = (before.upstream_model(name), *transferred)
        return Step("train-upstream", name, "", depends_on, w.names, inputs, outputs, w.round)
    detector = describe_detector(part_of(upstream, DetectorSettings), w.space(name))  # the library and files behind names
    depends_on = [settings["upstream"], detector, settings["seed"], settings["runtime"]["precision"]]
    return Step("train-upstream", name, "", depends_on, (name,), _weights(upstream.weights), outputs)


def _pseudo_label_step(w: Workspace, source: str, space: str) -> Step:
    settings = {**w.config.to_dict()["pseudo_label"], "batch_size": None}
    chosen, model, outputs = w.config.pseudo_label.filter, w.upstream_model(space), (w.pseudo_labels(source, space),)
    if chosen.keeps_all:
        return Step("pseudo-label", source, space, settings, (source,), (model,), outputs, w.round)
    settings["seed"] = w.config.seed
    inputs = (model, *((w.held_out_labels(space, space),) if chosen.needs_held_out else ()))
    return Step("pseudo-label", source, space, settings, (source, space), inputs, outputs, w.round)


def _held_out_spaces(w: Workspace, dataset: str) -> tuple[str, ...]:
    """The spaces in which the held-out images of a dataset are labelled: all those of a target's, and for a filter its own."""
    if dataset in w.config.target_names:
        return w.names
    return (dataset,) if w.config.pseudo_label.filter.needs_held_out else ()


def _held_out_step(w: Workspace, dataset: str, space: str) -> Step:
    settings = {**w.config.to_dict()["pseudo_label"], "batch_size": None, "filter": None}
    outputs = (w.held_out_labels(dataset, space),)
    group = f"{dataset}{HELD_OUT}"
    return Step("pseudo-label", group, space, settings, (dataset,), (w.upstream_model(space),), outputs, w.round)


def _train_transfer_step(w: Workspace) -> Step:
    settings = w.config.to_dict()
    depends_on = [{**settings["lat"], "cache": None}, settings["seed"], settings["runtime"]["precision"]]
    if w.config.label_sets:
        names = [[one.name, sorted(one.files)] for one in w.config.label_sets]
        depends_on += [names, w.config.pseudo_label.score_threshold]
    if relation_files(w):
        depends_on.append(settings["relations"]["threshold"])
    inputs = (*_all_pseudo_labels(w), *_label_set_files(w, w.names), *_backbone_model(w), *_weights(w.config.lat.weights))
    inputs = (*inputs, *relation_files(w))
    return Step("train-lat", "", "", depends_on, w.names, inputs, (w.transfer_model, w.transfer_metrics), w.round)


def _transfer_step(w: Workspace, source: str, target: str) -> Step:
    settings = {**w.config.to_dict()["transfer"], "batch_size": None}
    settings["prior"] = {**settings["prior"], "sources": None, "is_on": w.config.transfer.prior.applies_to(source)}
    if not w.config.transfer.filter.keeps_all:
        settings["seed"] = w.config.seed
    on_source = tuple(w.pseudo_labels(source, space) for space in w.others(source))
    on_target = (w.pseudo_labels(target, source), *(w.held_out_labels(target, space) for space in w.names))
    inputs = (w.transfer_model, *_backbone_model(w), *on_source, *on_target, *_label_set_files(w, (source,)))
    inputs += prior_files(w, source, target)
    return Step("transfer", source, target, settings, (source, target), inputs, (w.transferred(source, target),), w.round)


def _downstream_steps(w: Workspace, target: str) -> Iterator[Step]:
    """Writing the sources' labels, where the method is not label transfer, and training on them."""
    settings, downstream = w.config.to_dict(), w.config.downstream
    labels: tuple[Path, ...] = ()
    if downstream.uses_sources and downstream.method not in WITHOUT_LABELS:
        labels = tuple(w.downstream_labels(source, target) for source in w.others(target))
    if writes_labels(downstream):
        depends_on = [*label_settings(w), settings["seed"], settings["runtime"]["precision"]]
        inputs = label_inputs(w, target)
        yield Step("train-downstream", f"{target}{LABELS}", downstream.name, depends_on, w.names, inputs, labels)
    left_out = {"in_run", "class_map", "yolo", *DOWNSTREAM_METHODS} - {downstream.method, downstream.detector}  # others' settings
    if downstream.detector == "yolo":
        detector, weights = {}, _weights(downstream.yolo.model)
    else:
        detector = describe_detector(part_of(downstream, DetectorSettings), w.space(target))
        weights = _weights(downstream.weights)
    section = {key: value for key, value in settings["downstream"].items() if key not in left_out}
    depends_on = [section, detector, settings["seed"], settings["runtime"]["precision"]]
    inputs = (*labels, *weights)
    outputs = (w.downstream_model(target), w.downstream_metrics(target))
    yield Step("train-downstream", target, downstream.name, depends_on, w.names, inputs, outputs)


def _evaluate_step(w: Workspace, downstream: Iterable[Path]) -> Step:
    inputs = (*_all_pseudo_labels(w.at(0)), *(path for seen in w.rounds() for path in _all_transferred(seen)))
    inputs += tuple(sorted(downstream))
    depends_on = [w.config.to_dict()["evaluation"], list(map(list, w.transfers()))]
    return Step("evaluate", "", "", depends_on, w.names, inputs, (w.evaluation,))


def _report_step(w: Workspace) -> Step:
    metrics = tuple(w.upstream_metrics(name) for name in w.names)
    inputs = (*_all_pseudo_labels(w), *_all_transferred(w), w.evaluation, w.transfer_model, *metrics, *w.found_relations())
    depends_on = [w.config.to_dict()["evaluation"], w.config.to_dict()["report"]]
    doubts = tuple(w.doubt(source, target) for source, target in w.transfers())
    return Step("report", "", "", depends_on, w.names, inputs, (w.report, *doubts))


def _all_pseudo_labels(w: Workspace) -> tuple[Path, ...]:
    return tuple(w.pseudo_labels(source, space) for source in w.names for space in w.others(source))


def _label_set_files(w: Workspace, names: Sequence[str]) -> tuple[Path, ...]:
    """The files of outside label sets that label the images of these datasets."""
    return tuple(path for one in w.config.label_sets for path in one.paths_for(names))


def _all_transferred(w: Workspace) -> tuple[Path, ...]:
    return tuple(w.transferred(source, target) for source, target in w.transfers())


def _weights(name_or_path: str) -> tuple[Path, ...]:
    """The file of weights, if weights are a file."""
    return (Path(name_or_path),) if Path(name_or_path).is_file() else ()


def _backbone_model(w: Workspace) -> tuple[Path, ...]:
    """The upstream model whose features the label-transfer model sees, if any."""
    return () if w.backbone_model is None else (w.backbone_model,)
