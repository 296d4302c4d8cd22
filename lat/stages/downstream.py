"""Train the downstream detector of a target: its ground truth and the sources' labels in, `downstream/T/` out.

With another method than label transfer, the labels that the sources have by it are written first, as COCO files beside the model.
"""

from __future__ import annotations

import json

import torch

from lat.data.dataset import DetectionDataset
from lat.data.files import write_atomically
from lat.data.training_labels import TransferredDataset, WeighingSettings
from lat.detectors.base import DetectorSettings, build_detector, describe_detector, resolve_detector
from lat.engine.trainer import train
from lat.sections import part_of
from lat.stages.detection import DetectionItems, Predictor, evaluate_detector, load_detector
from lat.stages.downstream_labels import HAND_PICKED
from lat.stages.workspace import Workspace


def train_downstream(workspace: Workspace, target: str, inputs: str = "") -> None:
    """Train a detector on the target's training images and on the sources', and score it on the target's held-out images.

    Args:
        workspace: the run; `downstream.method` says which labels the sources' images have.
        target: name of the dataset.
        inputs: hash of all that goes in; an unfinished training of other inputs is not resumed.
    """
    settings, space = workspace.config.downstream, workspace.space(target)
    datasets = [workspace.train_part(target), *(source_labels(workspace, target) if settings.uses_sources else [])]
    torch.manual_seed(workspace.config.seed)
    detector_settings = part_of(settings, DetectorSettings)
    path = train(
        build_detector(detector_settings, space),
        DetectionItems(datasets, settings.augmentation),
        settings.training,
        out_dir=workspace.downstream(target),
        seed=workspace.config.seed,
        title=f"train downstream {workspace.downstream(target).name}",
        fabric=workspace.fabric,
        description=describe_detector(detector_settings, space),
        num_workers=workspace.config.runtime.num_workers,
        inputs=inputs,
        reserved=settings.reserved(len(datasets[0])),
    )
    metrics = evaluate_detector(Predictor(load_detector(path), workspace.fabric), workspace.validation_part(target))
    described = {
        "target": target,
        "name": settings.name,
        "method": settings.method if settings.uses_sources else "target_only",
        "strategy": settings.strategy if settings.uses_sources else "target_only",
        "detector": resolve_detector(detector_settings).detector,
    }
    write_atomically(workspace.downstream_metrics(target), json.dumps({**described, **metrics}, indent=2) + "\n")


def source_labels(workspace: Workspace, target: str) -> list[DetectionDataset]:
    """The sources' training images with their labels in the target's space, weighed."""
    settings = workspace.config.downstream
    weighing = settings.labels
    if settings.method in HAND_PICKED:  # their labels have passed thresholds of their own
        weighing = WeighingSettings(0.0, 0.0, 0.0, weighing.weigh_by_score)
    return [
        TransferredDataset.of(workspace.train_part(source), workspace.read_downstream_labels(source, target), weighing)
        for source in workspace.others(target)
    ]
