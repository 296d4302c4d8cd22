"""The labels that sources have in a target's space by ways other than label transfer: `downstream/T/labels/S.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lat.baselines.box_statistics import normalise_box_statistics
from lat.baselines.class_map import read_class_map
from lat.baselines.class_thresholds import above_class_thresholds, class_thresholds
from lat.baselines.lgpl import LgplModel, describe_lgpl, lgpl_from_checkpoint
from lat.baselines.lgpl_labels import LgplItems, lgpl_labels, validity_thresholds
from lat.config.sections import DownstreamSettings, part_of
from lat.core.structures import LabeledBoxes
from lat.data.tensors import boxes_per_image
from lat.data.training_labels import WeighingSettings
from lat.detectors.settings import DetectorSettings
from lat.engine.checkpoint import load_checkpoint
from lat.engine.progress import track
from lat.engine.sampling import Reserved
from lat.engine.trainer import TrainJob, train
from lat.evaluation.transfer_quality import labels_by_class_map, labels_by_class_names, union_labels
from lat.labels.coco.write import write_labels
from lat.workspace.label_files import config_sha256, read_held_out_labels, read_pseudo_labels
from lat.workspace.workspace import Workspace

OWN_THRESHOLDS = ("class_thresholds", "lgpl")  # all labels that these methods keep are trained on
WITHOUT_LABELS = ("student_teacher", "label_unification")  # these methods take the sources' images in another way


def writes_labels(settings: DownstreamSettings) -> bool:
    """True if the method needs labels that no earlier stage has written."""
    return settings.uses_sources and settings.method not in ("label_transfer", *WITHOUT_LABELS)


def weighing_of(settings: DownstreamSettings) -> WeighingSettings:
    """How the sources' labels are weighed."""
    if settings.method in OWN_THRESHOLDS:
        return WeighingSettings(0.0, 0.0, 0.0, settings.labels.weigh_by_score)
    return settings.labels


def label_inputs(workspace: Workspace, target: str) -> tuple[Path, ...]:
    """The files of the user's and of earlier stages from which `write_downstream_labels` makes labels."""
    first, settings = workspace.at(0), workspace.config.downstream
    pseudo = tuple(first.paths.pseudo_labels(source, target) for source in workspace.others(target))
    match settings.method:
        case "pseudo_label" | "union":
            return pseudo
        case "class_thresholds":
            return (*pseudo, first.paths.held_out_labels(target, target))
        case "class_map" | "box_statistics" | "lgpl" if settings.class_map:
            return (Path(settings.class_map),)
    return ()


def label_settings(workspace: Workspace) -> list[Any]:
    """The settings on which the labels depend, as plain types."""
    section = workspace.config.to_dict()["downstream"]
    if section["method"] != "lgpl":
        return [section["method"]]
    return [{key: value for key, value in section.items() if key not in ("name", "in_run", "strategy", "labels", "class_map")}]


def write_downstream_labels(workspace: Workspace, *, target: str, due: Mapping[str, str]) -> None:
    """Write the labels of every source by `downstream.method`."""
    (inputs,) = due.values()
    model = _train_lgpl(workspace, target, inputs) if workspace.config.downstream.method == "lgpl" else None
    workspace.processes.from_first(_write_labels, workspace, target, model)


def _write_labels(workspace: Workspace, target: str, lgpl_model: Path | None) -> None:
    method, space = workspace.config.downstream.method, workspace.data.space(target)
    names = workspace.others(target)
    match method:
        case "lgpl":
            assert lgpl_model is not None
            labels = _lgpl(workspace, target, lgpl_model)
        case "class_thresholds":
            labels = _above_class_thresholds(workspace, target)
        case _:
            labels = {source: _labels(workspace, source, target) for source in names}
    info = {"method": method, "config_sha256": config_sha256(workspace)}
    for source in names:
        images = workspace.data.train_part(source).labels
        write_labels(workspace.paths.downstream_labels(source, target), images, space, labels[source], info=info)


def _labels(workspace: Workspace, source: str, target: str) -> list[LabeledBoxes]:
    """The labels of each training image of a source by the method."""
    match workspace.config.downstream.method:
        case "class_names" | "class_map":
            return _in_target_classes(workspace, source, target)
        case "box_statistics":
            sizes_hw = workspace.data.train_part(source).labels.sizes_hw
            own = workspace.data.train_part(target).labels
            return normalise_box_statistics(_in_target_classes(workspace, source, target), sizes_hw, own)
        case "pseudo_label":
            return _pseudo_labels(workspace, source, target)
        case "union":
            by_names = _in_target_classes(workspace, source, target)
            return union_labels(by_names, _pseudo_labels(workspace, source, target))
        case method:
            raise AssertionError(f"no labels by {method}")


def _in_target_classes(workspace: Workspace, source: str, target: str) -> list[LabeledBoxes]:
    """The source's own boxes in classes of the target: by the class map, where the method has one, or else by name."""
    settings, own, space = workspace.config.downstream, workspace.data.train_part(source).labels, workspace.data.space(target)
    if settings.class_map and settings.method in ("class_map", "box_statistics", "lgpl"):
        return labels_by_class_map(own, read_class_map(Path(settings.class_map), own.space, space), space)
    return labels_by_class_names(own, space)


def _pseudo_labels(workspace: Workspace, source: str, target: str) -> list[LabeledBoxes]:
    return boxes_per_image(read_pseudo_labels(workspace.at(0), source, target))


def _above_class_thresholds(workspace: Workspace, target: str) -> dict[str, list[LabeledBoxes]]:
    """Of every source's pseudo-labels those above the thresholds that are best on the target's held-out images."""
    found = read_held_out_labels(workspace.at(0), target, target)
    least = class_thresholds(found, workspace.data.held_out_part(target).labels)
    return {
        source: [above_class_thresholds(boxes, least) for boxes in _pseudo_labels(workspace, source, target)]
        for source in workspace.others(target)
    }


def _train_lgpl(workspace: Workspace, target: str, inputs: str) -> Path:
    """Train an LGPL model on the target's images and the sources'."""
    settings, space = workspace.config.downstream, workspace.data.space(target)
    sources = [workspace.data.train_part(source) for source in workspace.others(target)]
    torch.manual_seed(workspace.config.seed)
    detector_settings = part_of(settings, DetectorSettings)
    items = LgplItems(sources, workspace.data.train_part(target), settings.augmentation)
    job = TrainJob(
        title=f"train LGPL {workspace.paths.downstream(target).name}",
        out_dir=workspace.paths.downstream(target) / "lgpl",
        seed=workspace.config.seed,
        description=describe_lgpl(settings.lgpl, detector_settings, space),
        inputs=inputs,
        reserved=Reserved.half(items.num_target, settings.training.batch_size),
        num_workers=workspace.config.runtime.num_workers,
    )
    return train(LgplModel(settings.lgpl, detector_settings, space), items, settings.training, job, workspace.fabric)


def _lgpl(workspace: Workspace, target: str, path: Path) -> dict[str, list[LabeledBoxes]]:
    """Let an LGPL model move and judge every source's own boxes."""
    sources = {source: workspace.data.train_part(source) for source in workspace.others(target)}
    boxes = {source: _in_target_classes(workspace, source, target) for source in sources}
    model = lgpl_from_checkpoint(load_checkpoint(path, "lgpl")).to(workspace.fabric.device)
    labels: dict[str, list[LabeledBoxes]] = {}
    with workspace.fabric.autocast(), track(sum(map(len, sources.values())), "LGPL labels") as progress:
        least = validity_thresholds(model, workspace.data.held_out_part(target))
        for source, part in sources.items():
            labels[source] = lgpl_labels(model, part, boxes[source], least, advance=progress.advance)
    return labels
