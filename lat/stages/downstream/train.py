"""Train the downstream detector of a target: its ground truth and the sources' labels in, `downstream/T/` out.

Methods other than label transfer first write their labels for the sources as COCO files beside the model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn

from lat.baselines.label_unification import SpaceView, UnifiedItems
from lat.baselines.student_teacher import StudentTeacher, StudentTeacherItems
from lat.config.sections import part_of
from lat.core.files import write_atomically
from lat.core.label_space import LabelSpace
from lat.data.dataset import DetectionDataset
from lat.data.training_labels import TransferredDataset
from lat.detectors.base import DetectorSettings, build_detector, describe_detector, resolve_detector
from lat.detectors.settings import TRANSFORMERS_DETECTORS
from lat.detectors.ultralytics.yolo_detector import YoloDetector
from lat.engine.announce import say
from lat.engine.sampling import Reserved
from lat.engine.trainer import TrainJob, train
from lat.stages.downstream.labels import weighing_of
from lat.stages.downstream.yolo_training import YoloJob, train_yolo
from lat.stages.shared.detection import DetectionItems, Predictor, evaluate_detector, load_detector
from lat.workspace.label_files import read_downstream_labels
from lat.workspace.workspace import Workspace


def train_downstream(workspace: Workspace, *, target: str, due: Mapping[str, str]) -> None:
    """Train a detector on the training images of the target and the sources; score it on the target's held-out images.

    Args:
        workspace: the run; `downstream.method` decides how the sources' images are labelled.
        target: name of the dataset.
        due: see `RunSteps`.
    """
    settings = workspace.config.downstream
    (inputs,) = due.values()
    training: Callable[[Workspace, str, str], nn.Module] = _train_on_labels
    if settings.detector == "yolo":
        training = _train_yolo
    elif settings.uses_sources:
        others = {"student_teacher": _train_student_teacher, "label_unification": _train_unified}
        training = others.get(settings.method, training)
    detector = training(workspace, target, inputs)
    metrics = evaluate_detector(
        Predictor(detector, workspace.fabric), workspace.data.validation_part(target), workspace.processes
    )
    described = {
        "target": target,
        "name": settings.name,
        "method": settings.method if settings.uses_sources else "target_only",
        "strategy": settings.strategy if settings.uses_sources else "target_only",
        "detector": "yolo" if settings.detector == "yolo" else resolve_detector(part_of(settings, DetectorSettings)).detector,
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
        labels = read_downstream_labels(workspace, source, target)
        if (labels.scores >= weighing.score_threshold).any():
            datasets.append(TransferredDataset.of(workspace.data.train_part(source), labels, weighing))
        else:
            say(f"{labels.path}: no label of a score of {weighing.score_threshold:g} or more; {source} is left out")
    return datasets


def _train_on_labels(workspace: Workspace, target: str, inputs: str) -> nn.Module:
    """Train a detector on ground truth and the sources' labels, by `downstream.strategy`."""
    settings, datasets = workspace.config.downstream, training_datasets(workspace, target)
    model, description = _build(workspace, workspace.data.space(target))
    items = DetectionItems(datasets, settings.augmentation)
    job = replace(_job(workspace, target, inputs, description), reserved=settings.reserved(len(datasets[0])))
    return load_detector(train(model, items, settings.training, job, workspace.fabric))


def _train_student_teacher(workspace: Workspace, target: str, inputs: str) -> nn.Module:
    """Train a student that sees the sources' images without labels; return its teacher. Half of each batch is the target's."""
    settings = workspace.config.downstream
    model, description = _build(workspace, workspace.data.space(target))
    unlabelled = [workspace.data.train_part(source) for source in workspace.others(target)]
    items = StudentTeacherItems(workspace.data.train_part(target), unlabelled, settings.augmentation)
    reserved = Reserved.half(items.num_labelled, settings.training.batch_size)
    training = replace(settings.training, ema_decay=0.0)  # the teacher is the average
    pair = StudentTeacher(model, settings.student_teacher)
    job = replace(_job(workspace, target, inputs, description), reserved=reserved, result="teacher")
    return load_detector(train(pair, items, training, job, workspace.fabric))


def _train_unified(workspace: Workspace, target: str, inputs: str) -> nn.Module:
    """Train one detector for all label spaces, each image supervised in its own; return it as a detector of the target."""
    settings = workspace.config.downstream
    parts = [DetectionItems([workspace.data.train_part(name)], settings.augmentation) for name in workspace.names]
    items = UnifiedItems(parts, workspace.data.joint, settings.label_unification)
    model, description = _build(workspace, items.space)
    is_binary = settings.label_unification.classification_loss == "null_bce"
    if is_binary:
        cast(Any, model).roi_heads.is_binary = True
    job = _job(workspace, target, inputs, description)
    detector = load_detector(train(model, items, settings.training, job, workspace.fabric))
    if is_binary:
        detector.roi_heads.is_binary = True
    is_detr = settings.detector in TRANSFORMERS_DETECTORS
    least = settings.score_threshold if is_detr else 0.0
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
        min_score=weighing_of(settings).score_threshold,
        device=workspace.fabric.device,
        num_workers=workspace.config.runtime.num_workers,
    )
    path = train_yolo(datasets, workspace.data.validation_part(target), settings.yolo, settings.training, job)
    return YoloDetector(path, workspace.data.space(target), settings.yolo)


def _build(workspace: Workspace, space: LabelSpace) -> tuple[nn.Module, dict[str, Any]]:
    """A new detector for `space` and its description."""
    torch.manual_seed(workspace.config.seed)
    settings = part_of(workspace.config.downstream, DetectorSettings)
    return build_detector(settings, space), describe_detector(settings, space)


def _job(workspace: Workspace, target: str, inputs: str, description: Mapping[str, Any]) -> TrainJob:
    """The training job of a target's detector: all images drawn alike, the whole model kept."""
    folder = workspace.paths.downstream(target)
    return TrainJob(
        title=f"train downstream {folder.name}",
        out_dir=folder,
        seed=workspace.config.seed,
        description=description,
        inputs=inputs,
        num_workers=workspace.config.runtime.num_workers,
    )
