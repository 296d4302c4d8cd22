"""Train the downstream detector of a target: its ground truth and the sources' labels in, `downstream/T/` out.

Methods other than label transfer first write their labels for the sources as COCO files beside the model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from lat.baselines.label_unification import SpaceView, UnifiedItems
from lat.baselines.student_teacher import StudentTeacher, StudentTeacherItems
from lat.config.sections import DownstreamSettings
from lat.core.files import write_atomically
from lat.core.label_space import LabelSpace
from lat.data.dataset import DetectionDataset
from lat.data.training_labels import TransferredDataset
from lat.detectors.base import build_detector, describe_detector, resolve_detector
from lat.detectors.detector_settings import TRANSFORMERS_DETECTORS
from lat.detectors.ultralytics.yolo_detector import YoloDetector
from lat.engine.announce import say
from lat.engine.sampling import Reserved
from lat.engine.trainer import TrainJob, train
from lat.labels.table import LabelTable
from lat.stages.downstream.source_labels import weighing_of
from lat.stages.downstream.yolo_training import YoloJob, train_yolo
from lat.stages.shared.detection import DetectionItems, Predictor, evaluate_detector, load_detector
from lat.workspace.label_files import read_downstream_labels
from lat.workspace.reading import reading_threads, reading_workers
from lat.workspace.reviewed_labels import read_trained
from lat.workspace.tracked import tracked_run
from lat.workspace.workspace import Workspace


def train_downstream(workspace: Workspace, *, target: str, due: Mapping[str, str]) -> None:
    """Train a detector on the training images of the target and the sources; score it on the target's test images.

    Without these it is scored on the validation images, on which calibrations, conventions and thresholds of labels are fitted.

    Args:
        workspace: the run; `downstream.method` decides how the sources' images are labelled.
        target: name of the dataset.
        due: see `RunSteps`.
    """
    settings = workspace.config.downstream
    (inputs,) = due.values()
    training: Callable[[Workspace, str, str], nn.Module] = _train_on_labels
    if settings.model.detector == "yolo":
        training = _train_yolo
    elif settings.uses_sources:
        others = {"student_teacher": _train_student_teacher, "label_unification": _train_unified}
        training = others.get(settings.method, training)
    detector = training(workspace, target, inputs)
    part = workspace.data.test_part(target) or workspace.data.validation_part(target)
    metrics = evaluate_detector(Predictor(detector, workspace.fabric), part, workspace.processes, reading_threads(workspace))
    described = {
        "target": target,
        "name": settings.name,
        "method": settings.method if settings.uses_sources else "target_only",
        "strategy": settings.strategy if settings.uses_sources else "target_only",
        "detector": "yolo" if settings.model.detector == "yolo" else resolve_detector(settings.model).detector,
    }
    if workspace.processes.is_first:
        write_atomically(workspace.paths.downstream_metrics(target), json.dumps({**described, **metrics}, indent=2) + "\n")


def training_datasets(workspace: Workspace, target: str) -> list[DetectionDataset]:
    """The training data: the target's images, then the sources' images with weighted labels in the target's space.

    A source without any label that counts is left out: its images would be pure background.
    """
    datasets = [workspace.data.train_part(target)]
    if not workspace.config.downstream.uses_sources:
        return datasets
    weighing = weighing_of(workspace.config.downstream)
    for source in workspace.others(target):
        part, labels = _labelled(workspace, source, target)
        if (labels.scores >= weighing.trained_threshold).any():
            datasets.append(TransferredDataset.of(part, labels, weighing))
        else:
            say(f"{labels.path}: no label of a score of {weighing.trained_threshold:g} or more; {source} is left out")
    return datasets


def _labelled(workspace: Workspace, source: str, target: str) -> tuple[DetectionDataset, LabelTable]:
    """The images of a source that a target trains on, and their labels by `downstream.method`."""
    if workspace.config.downstream.method == "label_transfer":
        return read_trained(workspace, source, target)
    return workspace.data.train_part(source), read_downstream_labels(workspace, source, target)


def _train_on_labels(workspace: Workspace, target: str, inputs: str) -> nn.Module:
    """Train a detector on ground truth and the sources' labels, by `downstream.strategy`."""
    config, datasets = workspace.config, training_datasets(workspace, target)
    model, description = _build(workspace, workspace.data.space(target))
    items = DetectionItems(datasets, config.augmentation, device=workspace.fabric.device)
    job = replace(_job(workspace, target, inputs, description), reserved=reserved(config.downstream, len(datasets[0])))
    result: nn.Module = load_detector(train(model, items, config.downstream_training, job, workspace.fabric))
    return result


def reserved(settings: DownstreamSettings, target_images: int) -> Reserved | None:
    """The places of the target's images, the first ones of the data, in each batch; None where no others are trained on."""
    if not settings.uses_sources:
        return None
    if settings.strategy == "half_and_half":
        return Reserved.half(target_images, settings.training.batch_size)
    steps, alone_from = settings.training.steps, None
    if settings.strategy == "mixed_then_target":
        alone_from = steps - round(settings.target_share * steps)
    return Reserved(target_images, None, alone_from)


def _train_student_teacher(workspace: Workspace, target: str, inputs: str) -> nn.Module:
    """Train a student that sees the sources' images without labels; return its teacher. Half of each batch is the target's."""
    config = workspace.config
    model, description = _build(workspace, workspace.data.space(target))
    unlabelled = [workspace.data.train_part(source) for source in workspace.others(target)]
    items = StudentTeacherItems(workspace.data.train_part(target), unlabelled, config.augmentation)
    half = Reserved.half(items.num_labelled, config.downstream.training.batch_size)
    training = replace(config.downstream_training, ema_decay=0.0)  # the teacher is the average
    pair = StudentTeacher(model, config.downstream.student_teacher, config.downstream.ema_decay)
    job = replace(_job(workspace, target, inputs, description), reserved=half, result="teacher")
    result: nn.Module = load_detector(train(pair, items, training, job, workspace.fabric))
    return result


def _train_unified(workspace: Workspace, target: str, inputs: str) -> nn.Module:
    """Train one detector for all label spaces, each image supervised in its own; return it as a detector of the target."""
    config, settings = workspace.config, workspace.config.downstream
    device = workspace.fabric.device
    parts = [DetectionItems([workspace.data.train_part(name)], config.augmentation, device=device) for name in workspace.names]
    items = UnifiedItems(parts, workspace.data.joint)
    is_detr, is_binary = settings.model.detector in TRANSFORMERS_DETECTORS, settings.label_unification.is_binary
    model, description = _build(workspace, items.space, is_binary=is_binary)
    job = _job(workspace, target, inputs, description)
    detector = load_detector(train(model, items, config.downstream_training, job, workspace.fabric))
    least = settings.model.detection_threshold if is_detr else 0.0
    return SpaceView(detector, workspace.data.joint, target, softmax=not is_detr, sigmoids=is_binary, score_threshold=least)


def _train_yolo(workspace: Workspace, target: str, inputs: str) -> nn.Module:
    """Train a YOLO with ultralytics; an interrupted training starts over."""
    settings, datasets = workspace.config.downstream, training_datasets(workspace, target)
    own, others = len(datasets[0]), sum(map(len, datasets[1:]))
    job = YoloJob(
        out_dir=workspace.paths.downstream(target),
        seed=workspace.config.seed,
        target_only_share=settings.target_share if settings.uses_sources and settings.strategy == "mixed_then_target" else 0.0,
        repeat=max(1, round(others / own)) if settings.strategy == "half_and_half" else 1,
        min_score=weighing_of(settings).trained_threshold,
        device=workspace.fabric.device,
        num_workers=reading_workers(workspace),
        tracked=tracked_run(workspace.at(0), target, "downstream", workspace.config.downstream.name),
    )
    path = train_yolo(datasets, workspace.data.validation_part(target), settings.yolo, workspace.config.downstream_training, job)
    return YoloDetector(path, workspace.data.space(target), settings.yolo)


def _build(workspace: Workspace, space: LabelSpace, *, is_binary: bool = False) -> tuple[nn.Module, dict[str, Any]]:
    """A new detector for `space` and its description."""
    torch.manual_seed(workspace.config.seed)
    settings = workspace.config.downstream.model
    return build_detector(settings, space, is_binary=is_binary), describe_detector(settings, space, is_binary=is_binary)


def _job(workspace: Workspace, target: str, inputs: str, description: Mapping[str, Any]) -> TrainJob:
    """The training job of a target's detector: all images drawn alike, the whole model kept."""
    folder = workspace.paths.downstream(target)
    return TrainJob(
        section="downstream",
        title=f"train downstream {folder.name}",
        out_dir=folder,
        seed=workspace.config.seed,
        description=description,
        inputs=inputs,
        num_workers=reading_workers(workspace),
        tracked=tracked_run(workspace.at(0), target, "downstream", workspace.config.downstream.name),
    )
