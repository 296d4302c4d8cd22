"""Label the sources in a target's space by methods other than label transfer: `downstream/T/labels/S.json`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lat.baselines.baseline_settings import LgplSettings
from lat.baselines.class_thresholds import class_thresholds
from lat.baselines.lgpl import LgplModel, describe_lgpl, lgpl_from_checkpoint
from lat.baselines.lgpl_labels import LgplItems, lgpl_labels, validity_thresholds
from lat.baselines.methods import METHODS, MethodInputs, in_target_classes
from lat.config.sections import DownstreamSettings
from lat.core.structures import LabeledBoxes
from lat.data.data_settings import WeighingSettings
from lat.data.tensors import boxes_per_image
from lat.engine.checkpoint import load_checkpoint, reading_checkpoint
from lat.engine.progress import track
from lat.engine.sampling import Reserved
from lat.engine.trainer import TrainJob, train
from lat.labels.coco.write import write_labels
from lat.workspace.label_files import config_sha256, read_detections, read_held_out_labels, read_pseudo_labels
from lat.workspace.reading import reading_workers
from lat.workspace.tracked import tracked_run
from lat.workspace.workspace import Workspace

OWN_THRESHOLDS = ("class_thresholds", "lgpl")  # train on every label that these methods keep
WITHOUT_LABELS = ("student_teacher", "label_unification")  # these methods use the sources' images without new labels


def writes_labels(settings: DownstreamSettings) -> bool:
    """True if the method needs labels that no earlier stage has written."""
    return settings.uses_sources and settings.method not in ("label_transfer", *WITHOUT_LABELS)


def weighing_of(settings: DownstreamSettings) -> WeighingSettings:
    """The weighing of the sources' labels."""
    if settings.method in OWN_THRESHOLDS:
        return WeighingSettings(0.0, 0.0, 0.0, settings.labels.weigh_by_score)
    return settings.labels


def label_inputs(workspace: Workspace, target: str) -> tuple[Path, ...]:
    """The files, the user's and those of earlier stages, that `write_downstream_labels` reads."""
    first, settings = workspace.at(0), workspace.config.downstream
    others = workspace.others(target)
    match settings.method:
        case "pseudo_label" | "union" | "union_averaged":
            return tuple(first.paths.detections(source, target) for source in others)
        case "class_thresholds":
            return (
                *(first.paths.pseudo_labels(source, target) for source in others),
                first.paths.held_out_labels(target, target),
            )
        case "class_map" | "box_statistics" | "lgpl" if settings.class_map:
            return (Path(settings.class_map),)
    return ()


def label_settings(workspace: Workspace) -> list[Any]:
    """The settings on which the labels depend, as plain types."""
    settings = workspace.config.to_dict()
    section = settings["downstream"]
    if section["method"] != "lgpl":
        return [section["method"]]
    chosen = {key: section[key] for key in section if key not in ("name", "in_run", "strategy", "labels", "class_map")}
    return [chosen, workspace.config.training.recorded(), settings["augmentation"]]


def write_downstream_labels(workspace: Workspace, *, target: str, due: Mapping[str, str]) -> None:
    """Label every source by `downstream.method` and write the files."""
    (inputs,) = due.values()
    model = _train_lgpl(workspace, target, inputs) if workspace.config.downstream.method == "lgpl" else None
    workspace.processes.from_first(_write_labels, workspace, target, model)


def _write_labels(workspace: Workspace, target: str, lgpl_model: Path | None) -> None:
    method, space = workspace.config.downstream.method, workspace.data.space(target)
    if method == "lgpl":
        assert lgpl_model is not None
        labels = _lgpl(workspace, target, lgpl_model)
    else:
        labels = {source: METHODS[method](inputs) for source, inputs in _method_inputs(workspace, target).items()}
    info = {"method": method, "config_sha256": config_sha256(workspace)}
    for source in workspace.others(target):
        images = workspace.data.train_part(source).labels
        write_labels(workspace.paths.downstream_labels(source, target), images, space, labels[source], info=info)


def _method_inputs(workspace: Workspace, target: str) -> dict[str, MethodInputs]:
    """What a method may use for the training images of each source."""
    settings, first = workspace.config.downstream, workspace.at(0)
    has_map = settings.class_map and settings.method in ("class_map", "box_statistics", "lgpl")

    @cache
    def thresholds() -> Tensor:
        """Thresholds that are best on the target's held-out images."""
        found = read_held_out_labels(first, target, target)
        return class_thresholds(found, workspace.data.held_out_part(target).labels)

    return {
        source: MethodInputs(
            source=workspace.data.train_part(source).labels,
            target=workspace.data.train_part(target).labels,
            pseudo_labels=partial(_pseudo_labels, workspace, source, target),
            class_thresholds=thresholds,
            class_map=Path(settings.class_map) if has_map else None,
        )
        for source in workspace.others(target)
    }


def _pseudo_labels(workspace: Workspace, source: str, target: str) -> list[LabeledBoxes]:
    """All detections; the pseudo-labels alone where the method chooses thresholds, which it fits to held-out pseudo-labels."""
    read = read_pseudo_labels if workspace.config.downstream.method == "class_thresholds" else read_detections
    return list(boxes_per_image(read(workspace.at(0), source, target)))


def _train_lgpl(workspace: Workspace, target: str, inputs: str) -> Path:
    """Train an LGPL model on the target's images and the sources'."""
    config, space = workspace.config, workspace.data.space(target)
    settings, detector = LgplSettings(), config.downstream.model
    sources = [workspace.data.train_part(source) for source in workspace.others(target)]
    torch.manual_seed(workspace.config.seed)
    items = LgplItems(sources, workspace.data.train_part(target), config.augmentation)
    job = TrainJob(
        section="downstream",
        title=f"train LGPL {workspace.paths.downstream(target).name}",
        out_dir=workspace.paths.downstream(target) / "lgpl",
        seed=workspace.config.seed,
        description=describe_lgpl(settings, detector, space),
        inputs=inputs,
        reserved=Reserved.half(items.num_target, config.downstream.training.batch_size),
        num_workers=reading_workers(workspace),
        tracked=tracked_run(workspace.at(0), target, "lgpl", workspace.config.downstream.name),
    )
    return train(LgplModel(settings, detector, space), items, config.downstream_training, job, workspace.fabric)


def _lgpl(workspace: Workspace, target: str, path: Path) -> dict[str, list[LabeledBoxes]]:
    """Let an LGPL model move and judge the human boxes of every source."""
    sources = {source: workspace.data.train_part(source) for source in workspace.others(target)}
    boxes = {source: in_target_classes(inputs) for source, inputs in _method_inputs(workspace, target).items()}
    content = load_checkpoint(path, "lgpl")
    with reading_checkpoint(path):
        model = lgpl_from_checkpoint(content).to(workspace.fabric.device)
    labels: dict[str, list[LabeledBoxes]] = {}
    with workspace.fabric.autocast(), track(sum(map(len, sources.values())), "LGPL labels") as progress:
        least = validity_thresholds(model, workspace.data.held_out_part(target))
        for source, part in sources.items():
            labels[source] = lgpl_labels(model, part, boxes[source], least, advance=progress.advance)
    return labels
