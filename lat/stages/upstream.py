"""Train the upstream detector of one dataset: ground truth in, `upstream/D/{model.pt,metrics.json,log.jsonl}` out.

Later rounds also train on the labels that the previous round transferred to the dataset.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch

from lat.core.files import write_atomically
from lat.data.training_labels import TransferredDataset
from lat.detectors.base import build_detector, describe_detector, detector_from_checkpoint
from lat.engine.checkpoint import load_checkpoint
from lat.engine.sampling import Reserved, derive_seed
from lat.engine.trainer import TrainJob, train
from lat.stages.shared.detection import DetectionItems, Predictor, evaluate_detector, load_detector
from lat.stages.shared.label_filters import surest_labels
from lat.workspace.label_files import read_transferred
from lat.workspace.paths import require
from lat.workspace.preflight import check_upstream
from lat.workspace.steps import Stage, Step, weights_file
from lat.workspace.workspace import Workspace


def steps(workspace: Workspace) -> Iterator[Step]:
    """A step per dataset whose detector is trained in this round."""
    yield from (_step(workspace, name) for name in workspace.names if name in workspace.renewed)


def _step(workspace: Workspace, dataset: str) -> Step:
    settings, upstream = workspace.config.to_dict(), workspace.config.upstream
    outputs = (workspace.paths.upstream_model(dataset), workspace.paths.upstream_metrics(dataset))
    if workspace.round:
        before = workspace.previous().paths
        transferred = tuple(before.transferred(source, dataset) for source in workspace.others(dataset))
        how = workspace.config.rounds.described(workspace.round)
        data, inputs = workspace.names, (before.upstream_model(dataset), *transferred)
    else:  # also the library version and the files behind names
        how = describe_detector(upstream.model, workspace.data.space(dataset))
        data, inputs = (dataset,), weights_file(upstream.model.weights)
    depends_on = [settings["upstream"], settings["training"], settings["augmentation"], how]
    depends_on += [settings["seed"], settings["runtime"]["precision"]]
    is_apart = workspace.processes.size > 1 and workspace.config.runtime.upstream_parallel == "datasets"
    run = partial(train_upstream, dataset=dataset)
    return Step("train-upstream", dataset, "", depends_on, data, inputs, outputs, run, workspace.round, is_apart)


def _check(workspace: Workspace) -> None:
    check_upstream(workspace.config, workspace.processes.size)


STAGE = Stage("train-upstream", steps, is_of_round=True, check=_check)


def train_upstream(workspace: Workspace, *, dataset: str, due: Mapping[str, str]) -> None:
    """Train the detector of `dataset` on its training images and score it on its held-out ones.

    In later rounds the previous round's detector continues training, with the labels transferred to its space added.

    Args:
        workspace: the run.
        dataset: name of the dataset.
        due: see `RunSteps`.
    """
    config, rounds = workspace.config, workspace.config.rounds
    training, seed, reserved, noise = config.upstream_training, config.seed, None, None
    datasets = [workspace.data.train_part(dataset)]
    if workspace.round:
        training, seed = config.round_training, derive_seed("round", seed, workspace.round)
        noise = rounds.noise_of(workspace.round)
        model, description = _trained_before(workspace.previous(), dataset, noise.dropout)
        datasets += [_transferred(workspace, source, dataset) for source in workspace.others(dataset)]
        reserved = Reserved(len(datasets[0]), max(1, round(rounds.own_share * training.own.batch_size)))
    else:
        torch.manual_seed(seed)
        model = build_detector(config.upstream.model, workspace.data.space(dataset))
        description = describe_detector(config.upstream.model, workspace.data.space(dataset))
    job = TrainJob(
        section="upstream",
        title=f"train upstream {dataset}",
        out_dir=workspace.paths.upstream_model(dataset).parent,
        seed=seed,
        description=description,
        inputs=due[""],
        reserved=reserved,
        num_workers=config.runtime.num_workers,
    )
    path = train(model, DetectionItems(datasets, config.augmentation, noise), training, job, workspace.fabric)
    predictor = Predictor(load_detector(path), workspace.fabric)
    metrics = evaluate_detector(predictor, workspace.data.validation_part(dataset), workspace.processes)
    if workspace.processes.is_first:
        write_atomically(workspace.paths.upstream_metrics(dataset), json.dumps(metrics, indent=2) + "\n")


def _trained_before(workspace: Workspace, dataset: str, dropout: float) -> tuple[Any, dict[str, Any]]:
    """The detector that a round has trained, with dropout from now on, and its description for the next checkpoint."""
    path = require(workspace.paths.upstream_model(dataset), "lat train-upstream")
    content = load_checkpoint(path, "detector")
    return detector_from_checkpoint(content, dropout=dropout), {key: content[key] for key in content if key != "model"}


def _transferred(workspace: Workspace, source: str, target: str) -> TransferredDataset:
    """The training images of `source` with the labels that the previous round transferred to `target`."""
    rounds = workspace.config.rounds
    labels = read_transferred(workspace.previous(), source, target)
    if (ratio := rounds.ratio_of(workspace.round)) is not None:
        labels = surest_labels(workspace, target, labels, rounds.labels.trained_threshold, ratio)
    return TransferredDataset.of(workspace.data.train_part(source), labels, rounds.labels)
