"""What a run consists of: the steps of its stages, and what each of them depends on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lat.config.sections import DOWNSTREAM_METHODS, part_of
from lat.detectors.base import DetectorSettings, describe_detector
from lat.stages.downstream.labels import WITHOUT_LABELS, label_inputs, label_settings, writes_labels
from lat.stages.shared.relation_files import relation_files
from lat.stages.transfer.priors import prior_files
from lat.workspace.records import Step
from lat.workspace.workspace import Workspace

HELD_OUT = " held-out"  # behind the dataset in the group of steps that label held-out images
LABELS = " labels"  # behind the target in the group of the step that writes what its downstream detector trains on
SHARES = "class shares"  # the member of the step that learns what classes are in other spaces
ROUND = ("train-upstream", "pseudo-label", "train-lat", "transfer")


def all_stages(workspace: Workspace) -> tuple[str, ...]:
    """The stages that `lat run` does."""
    downstream = ("train-downstream",) if workspace.config.downstream.in_run else ()
    return (*ROUND, *downstream, "evaluate", "report")


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
            if any(w.class_shares in prior_files(w, source, target) for source, target in w.transfers()):
                yield _class_shares_step(w)
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


def _class_shares_step(w: Workspace) -> Step:
    inputs = (w.transfer_model, *_backbone_model(w), *_all_pseudo_labels(w), *_label_set_files(w, w.names))
    depends_on = [w.config.transfer.sure_score]
    return Step("transfer", "", SHARES, depends_on, w.names, inputs, (w.class_shares,), w.round)


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
