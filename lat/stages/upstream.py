"""Train the upstream detector of one dataset: ground truth in, `upstream/D/{model.pt,metrics.json,log.jsonl}` out.

Later rounds also train on the labels that the previous round transferred to the dataset.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from lat.core.files import write_atomically
from lat.data.training_labels import TransferredDataset
from lat.detectors.base import build_detector, describe_detector, detector_from_checkpoint
from lat.engine.announce import say
from lat.engine.checkpoint import load_checkpoint, reading_checkpoint
from lat.engine.sampling import Reserved, derive_seed
from lat.engine.trainer import TrainJob, train
from lat.stages.shared.detection import DetectionItems, Predictor, evaluate_detector, load_detector
from lat.stages.shared.label_filters import surest_labels
from lat.workspace.paths import require
from lat.workspace.preflight import check_upstream
from lat.workspace.reading import check_reading, reading_threads, reading_workers
from lat.workspace.reviewed_labels import read_trained, trained_labels
from lat.workspace.steps import Stage, Step, weights_file
from lat.workspace.tracked import tracked_run
from lat.workspace.workspace import Workspace

WEAK_AP50 = 20.0
"""Below this AP50 on held-out images, a detector's labels are hardly worth reading at any score."""


def steps(workspace: Workspace) -> Iterator[Step]:
    """A step per dataset whose detector is trained in this round, and per member of it."""
    for name in workspace.names:
        if name in workspace.renewed:
            yield from (_step(workspace, name, member) for member in range(workspace.config.num_members(name)))


def _step(workspace: Workspace, dataset: str, member: int) -> Step:
    settings, own = workspace.config.to_dict(), workspace.config.upstream.all_members[member]
    outputs = (workspace.paths.upstream_model(dataset, member), workspace.paths.upstream_metrics(dataset, member))
    settings["upstream"] = {**settings["upstream"], **asdict(own)}
    del settings["upstream"]["members"], settings["upstream"]["min_ap"]  # others do not concern it, nor does what stops a run
    if workspace.round:
        before = workspace.previous()
        transferred = tuple(trained_labels(before, source, dataset) for source in workspace.others(dataset))
        how = workspace.config.rounds.described(workspace.round)
        data, inputs = workspace.names, (before.paths.upstream_model(dataset, member), *transferred)
    else:  # also the library version and the files behind names
        how = describe_detector(own.model, workspace.data.space(dataset))
        data, inputs = (dataset,), weights_file(own.model.weights)
    augmentation = asdict(workspace.config.round_augmentation(workspace.round))
    depends_on = [settings["upstream"], workspace.config.training.recorded(), augmentation, how]
    depends_on += [settings["seed"], workspace.config.runtime.recorded_precision]
    runtime = workspace.config.runtime
    is_apart = (workspace.processes.size > 1 or runtime.executor == "ray") and runtime.upstream_parallel == "datasets"
    run = partial(train_upstream, dataset=dataset)
    return Step("train-upstream", dataset, _title(member), depends_on, data, inputs, outputs, run, workspace.round, is_apart)


def _check(workspace: Workspace) -> None:
    check_upstream(workspace.config, workspace.processes.size)
    check_reading(workspace)


STAGE = Stage("train-upstream", steps, is_of_round=True, check=_check)


def train_upstream(workspace: Workspace, *, dataset: str, due: Mapping[str, str]) -> None:
    """Train the due members of the detector of `dataset` on its training images and score each on its held-out ones.

    In later rounds the previous round's detectors continue training, with the labels transferred to their space added.

    Args:
        workspace: the run.
        dataset: name of the dataset.
        due: see `RunSteps`.
    """
    for member in range(workspace.config.num_members(dataset)):
        if _title(member) in due:
            _train_member(workspace, dataset, member, due[_title(member)])


def _title(member: int) -> str:
    """What steps call a member; the first is the detector itself."""
    return f"member {member}" if member else ""


def _train_member(workspace: Workspace, dataset: str, member: int, inputs: str) -> None:
    config, rounds = workspace.config, workspace.config.rounds
    training, reserved, noise = config.upstream_training(member), None, None
    seed = derive_seed("member", config.seed, member) if member else config.seed
    datasets = [workspace.data.train_part(dataset)]
    if workspace.round:
        training, seed = config.round_training(member), derive_seed("round", seed, workspace.round)
        noise = rounds.noise
        model, description = _trained_before(workspace.previous(), dataset, member, noise.dropout)
        datasets += [_transferred(workspace, source, dataset) for source in workspace.others(dataset)]
        reserved = Reserved.half(len(datasets[0]), training.own.batch_size)
    else:
        torch.manual_seed(seed)
        settings = config.upstream.all_members[member].model
        model = build_detector(settings, workspace.data.space(dataset))
        description = describe_detector(settings, workspace.data.space(dataset))
    items = DetectionItems(datasets, config.round_augmentation(workspace.round), noise, workspace.fabric.device)
    job = TrainJob(
        section="upstream",
        title=" ".join(filter(None, ("train upstream", dataset, _title(member)))),
        out_dir=workspace.paths.upstream_model(dataset, member).parent,
        seed=seed,
        description=description,
        inputs=inputs,
        reserved=reserved,
        num_workers=reading_workers(workspace),
        tracked=tracked_run(workspace, dataset, "upstream", _title(member)),
    )
    path = train(model, items, training, job, workspace.fabric)
    predictor, part = Predictor(load_detector(path), workspace.fabric), workspace.data.validation_part(dataset)
    metrics = evaluate_detector(predictor, part, workspace.processes, reading_threads(workspace))
    if workspace.processes.is_first:
        write_atomically(workspace.paths.upstream_metrics(dataset, member), json.dumps(metrics, indent=2) + "\n")
        if metrics.get("ap50") is not None and metrics["ap50"] < WEAK_AP50:
            say(_too_weak(dataset, metrics))


def _too_weak(dataset: str, metrics: Mapping[str, Any]) -> str:
    figures = f"AP {metrics['ap']:.1f} and AP50 {metrics['ap50']:.1f} on its held-out images"
    remedy = "train it for more steps, on larger images or from pretrained weights (upstream.training.steps, upstream.model)"
    return f"warning: the detector of {dataset} has {figures}, too little to label others with; {remedy}"


def _trained_before(workspace: Workspace, dataset: str, member: int, dropout: float) -> tuple[Any, dict[str, Any]]:
    """The detector that a round has trained, with dropout from now on, and its description for the next checkpoint."""
    path = require(workspace.paths.upstream_model(dataset, member), "lat train-upstream")
    content = load_checkpoint(path, "detector")
    with reading_checkpoint(path):
        return detector_from_checkpoint(content, dropout=dropout), {key: content[key] for key in content if key != "model"}


def _transferred(workspace: Workspace, source: str, target: str) -> TransferredDataset:
    """The training images of `source` with the labels that the previous round transferred to `target`."""
    rounds = workspace.config.rounds
    part, labels = read_trained(workspace.previous(), source, target)
    if (ratio := rounds.ratio_of(workspace.round)) is not None:
        labels = surest_labels(workspace, target, labels, rounds.labels.trained_threshold, ratio)
    return TransferredDataset.of(part, labels, rounds.labels)
