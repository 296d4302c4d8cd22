"""Train the upstream detector of one dataset: ground truth in, `upstream/D/{model.pt,metrics.json,log.jsonl}` out.

In a further round the labels that the round before transferred to the dataset come in as well.
"""

from __future__ import annotations

import json
from typing import Any

import torch

from lat.config.sections import part_of
from lat.core.files import write_atomically
from lat.data.training_labels import TransferredDataset
from lat.detectors.base import DetectorSettings, build_detector, describe_detector, detector_from_checkpoint
from lat.engine.checkpoint import load_checkpoint
from lat.engine.sampling import Reserved, derive_seed
from lat.engine.trainer import train
from lat.stages.shared.detection import DetectionItems, Predictor, evaluate_detector, load_detector
from lat.stages.shared.label_filters import surest_labels
from lat.workspace.workspace import Workspace, require


def train_upstream(workspace: Workspace, dataset: str, inputs: str = "") -> None:
    """Train the detector of `dataset` on its training images and score it on its held-out ones.

    In a further round the detector of the round before is trained on, with the labels that were transferred to it besides.

    Args:
        workspace: the run.
        dataset: name of the dataset.
        inputs: hash of all that goes in; an unfinished training of other inputs is not resumed.
    """
    settings, rounds = workspace.config.upstream, workspace.config.rounds
    training, seed, reserved, noise = settings.training, workspace.config.seed, None, None
    datasets = [workspace.train_part(dataset)]
    if workspace.round:
        training, seed = rounds.training(training), derive_seed("round", seed, workspace.round)
        model, description = _trained_before(workspace.previous(), dataset)
        noise = rounds.noise_of(workspace.round)
        if noise.dropout:
            model.roi_heads.dropout = noise.dropout
        datasets += [_transferred(workspace, source, dataset) for source in workspace.others(dataset)]
        reserved = Reserved(len(datasets[0]), max(1, round(rounds.own_share * training.batch_size)))
    else:
        torch.manual_seed(seed)
        detector_settings = part_of(settings, DetectorSettings)
        model = build_detector(detector_settings, workspace.space(dataset))
        description = describe_detector(detector_settings, workspace.space(dataset))
    path = train(
        model,
        DetectionItems(datasets, settings.augmentation, noise),
        training,
        out_dir=workspace.upstream_model(dataset).parent,
        seed=seed,
        title=f"train upstream {dataset}",
        fabric=workspace.fabric,
        description=description,
        num_workers=workspace.config.runtime.num_workers,
        inputs=inputs,
        reserved=reserved,
    )
    predictor = Predictor(load_detector(path), workspace.fabric)
    metrics = evaluate_detector(predictor, workspace.validation_part(dataset), workspace.processes)
    if workspace.processes.is_first:
        write_atomically(workspace.upstream_metrics(dataset), json.dumps(metrics, indent=2) + "\n")


def _trained_before(workspace: Workspace, dataset: str) -> tuple[Any, dict[str, Any]]:
    """The detector that a round has trained, and its description for the next checkpoint."""
    path = require(workspace.upstream_model(dataset), "lat train-upstream")
    content = load_checkpoint(path, "detector")
    return detector_from_checkpoint(content), {key: content[key] for key in content if key != "model"}


def _transferred(workspace: Workspace, source: str, target: str) -> TransferredDataset:
    """The training images of `source` with the labels that the round before has transferred to `target`."""
    rounds = workspace.config.rounds
    labels = workspace.previous().read_transferred(source, target)
    if (ratio := rounds.ratio_of(workspace.round)) is not None:
        labels = surest_labels(workspace, target, labels, rounds.labels.score_threshold, ratio)
    return TransferredDataset.of(workspace.train_part(source), labels, rounds.labels)
