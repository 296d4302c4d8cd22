"""Train the label-transfer model: ground truth and pseudo-labels in, `lat/{model.pt,metrics.json,log.jsonl}` out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from lat.core.files import write_atomically
from lat.engine.progress import track
from lat.engine.sampling import Group
from lat.engine.trainer import TrainJob, train
from lat.models.feature_cache import FeatureCache
from lat.stages.shared.feature_shards import FeatureShards
from lat.stages.shared.relation_files import relation_files
from lat.stages.shared.transfer_model import (
    TransferItems,
    backbone_files,
    build_model,
    label_set_files,
    open_features,
    sees_as_detector,
)
from lat.workspace.jobs import do_shards
from lat.workspace.preflight import check_lat
from lat.workspace.reading import check_reading, reading_workers
from lat.workspace.result_files import read_log
from lat.workspace.reviewed_labels import review_files, reviewed_images
from lat.workspace.run_folder import url_folder
from lat.workspace.steps import Stage, Step, weights_file
from lat.workspace.tracked import tracked_run
from lat.workspace.workspace import Workspace


def steps(workspace: Workspace) -> Iterator[Step]:
    """One step: train the model of the round."""
    config, paths = workspace.config, workspace.paths
    settings = config.to_dict()
    settings["lat"]["backbone"]["cache"] = None
    if config.lat.dataset_power == 1.0:  # as before there was a choice
        del settings["lat"]["dataset_power"]
    depends_on = [settings["lat"], config.training.recorded(), settings["augmentation"]["horizontal_flip"]]
    depends_on += [settings["seed"], config.runtime.recorded_precision]
    if config.label_sets:
        depends_on += [[[one.name, sorted(one.files)] for one in config.label_sets], config.pseudo_label.threshold]
    if sees_as_detector(workspace):  # its features once ignored the longest side
        depends_on.append({"max_image_size": config.upstream.model.max_image_size})
    if relations := relation_files(workspace):
        depends_on.append(settings["relations"]["threshold"])
    inputs = (*paths.all_pseudo_labels(), *label_set_files(workspace, workspace.names), *backbone_files(workspace))
    inputs += (*weights_file(config.lat.backbone.weights), *relations)
    if workspace.round:
        inputs += review_files(workspace.previous())
    outputs = (paths.transfer_model, paths.transfer_metrics)
    run = train_label_transfer
    yield Step("train-lat", "", "", depends_on, workspace.names, inputs, outputs, run, workspace.round)


def _check(workspace: Workspace) -> None:
    sizes_hw = [part.size_hw(i) for part in map(workspace.data.train_part, workspace.names) for i in range(len(part))]
    check_lat(workspace.config, sizes_hw, workspace.processes.size, workspace.processes.here)
    check_reading(workspace)


STAGE = Stage("train-lat", steps, is_of_round=True, check=_check)


def train_label_transfer(workspace: Workspace, *, due: Mapping[str, str]) -> None:
    """Train the one label-transfer model on the images of all datasets; every round trains a new one.

    Args:
        workspace: the run.
        due: see `RunSteps`.

    Source: Label-Aligned Transfer, section 3.
    """
    settings = workspace.config.lat
    features = open_features(workspace)
    _fill(workspace, features, _flips(workspace))
    torch.manual_seed(workspace.config.seed)

    def mean_over_processes(value: Tensor) -> Tensor:
        return workspace.fabric.all_reduce(value.clone(), reduce_op="mean")  # type: ignore[return-value]

    model = build_model(workspace, features.backbone.channels, mean_over_processes)
    reviewed = reviewed_images(workspace.previous()) if workspace.round else []
    items = TransferItems(workspace, features, workspace.names, reviewed)
    sizes = [len(workspace.data.train_part(name)) for name in workspace.names] + [len(one.images) for one in reviewed]
    job = TrainJob(
        section="lat",
        title="train label transfer",
        out_dir=workspace.paths.transfer_model.parent,
        seed=workspace.config.seed,
        description={
            "kind": "label_transfer",
            "settings": {**asdict(settings.head), **asdict(settings.fusion)},
            "spaces": [space.to_dict() for space in workspace.data.joint.spaces],
            "channels": features.backbone.channels,
            "backbone": features.backbone.weights_fingerprint,
        },
        inputs=due[""],
        groups=Group.by_power(sizes, settings.dataset_power),
        num_workers=reading_workers(workspace),
        complete=items.complete,
        tracked=tracked_run(workspace, "all", "label-transfer"),
    )
    path = train(model, items, workspace.config.lat_training, job, workspace.fabric)
    workspace.processes.from_first(_write_metrics, workspace, path)


def share_out_features(workspace: Workspace) -> None:
    """Compute the features that training needs with the run's executor, before it, where workers and training share files."""
    if workspace.config.lat.backbone.cache == "disk" and url_folder(workspace.config.output_dir) is None:
        do_shards(workspace, FeatureShards, flips=_flips(workspace))


def _flips(workspace: Workspace) -> tuple[bool, ...]:
    """Which maps of an image training needs: True for that of the flipped one."""
    return (False, True) if workspace.config.augmentation.horizontal_flip else (False,)


def _fill(workspace: Workspace, features: FeatureCache, flips: tuple[bool, ...]) -> None:
    """Compute the missing features, with a progress bar."""
    missing = workspace.processes.from_first(features.count_missing, flips)
    if missing:
        with track(missing, f"features of {workspace.config.lat.backbone.name}") as progress:
            features.fill(progress.advance, flips, workspace.processes)


def _write_metrics(workspace: Workspace, path: Path) -> None:
    """The last logged losses, as `metrics.json`."""
    lines = read_log(path.parent / "log.jsonl")
    last = lines[-1] if lines else {}
    write_atomically(workspace.paths.transfer_metrics, json.dumps(last, indent=2) + "\n")
