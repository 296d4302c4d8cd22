"""Read the labels files of a run, each checked against the dataset that it labels, and make the `info` of new ones."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from lat.config.places import by_name
from lat.core.errors import InputError
from lat.core.files import sha256_of_file, sha256_of_json
from lat.core.remote import name_of
from lat.data.dataset import DetectionDataset, load_truth
from lat.labels.table import LabelTable
from lat.relations.relation_settings import RelationTraining
from lat.report.report_settings import ReportSettings
from lat.workspace.label_shards import read_run_labels
from lat.workspace.paths import require
from lat.workspace.workspace import Workspace


def read_pseudo_labels(workspace: Workspace, source: str, space: str) -> LabelTable:
    """Pseudo-labels of the images of `source` in another space, checked against both.

    Those of an outside label set are its labels with a score of at least `pseudo_label.threshold`.
    """
    data = workspace.data
    if space in data.label_sets:
        labels = data.label_sets[space].tables[source].at_least(workspace.config.pseudo_label.threshold)
        return labels.laid_over(data.train_part(source).labels)
    path = require(workspace.paths.pseudo_labels(source, space), "lat pseudo-label")
    return _read(workspace, path, data.train_part(source), space)


def read_detections(workspace: Workspace, source: str, space: str) -> LabelTable:
    """What the detector of `space` finds on the images of `source`, with all scores that it writes, checked against both.

    These are the pseudo-labels where `pseudo_label.filter` chooses them.
    """
    path = require(workspace.paths.detections(source, space), "lat pseudo-label")
    return _read(workspace, path, workspace.data.train_part(source), space)


def read_held_out_labels(workspace: Workspace, target: str, space: str) -> LabelTable:
    """Detections of the detector of `space` on the held-out images of `target`, checked against both."""
    path = require(workspace.paths.held_out_labels(target, space), "lat pseudo-label")
    return _read(workspace, path, workspace.data.held_out_part(target), space)


def read_transferred(workspace: Workspace, source: str, target: str) -> LabelTable:
    """Transferred labels of the images of `source` in the space of `target`, checked against both."""
    path = require(workspace.paths.transferred(source, target), "lat transfer")
    return _read(workspace, path, workspace.data.train_part(source), target)


def read_downstream_labels(workspace: Workspace, source: str, target: str) -> LabelTable:
    """Labels of the images of `source` that the downstream detector of `target` trains on, checked against both."""
    path = require(workspace.paths.downstream_labels(source, target), "lat train-downstream")
    return _read(workspace, path, workspace.data.train_part(source), target)


def read_truth(workspace: Workspace, source: str, target: str) -> LabelTable | None:
    """Known labels of the images of `source` in the space of `target`; None if the configuration names none."""
    data = workspace.data
    return load_truth(data.settings_of(source), data.train_part(source), data.space(target), data.settings_of(target).classes)


def counted_labels(workspace: Workspace, transferred: LabelTable) -> LabelTable:
    """The transferred labels whose score is high enough for agreement figures and pictures."""
    return transferred.at_least(workspace.config.evaluation.counted_threshold)


def label_info(workspace: Workspace, method: str, model: Path) -> dict[str, str]:
    """The `info` of a labels file: how it was made, from which model and settings."""
    return {"method": method, "model_sha256": sha256_of_file(model), "config_sha256": config_sha256(workspace)}


def config_sha256(workspace: Workspace) -> str:
    """SHA-256 of the resolved settings without output folder, device and later rounds; files count by their names."""
    settings = by_name(workspace.config.to_dict())
    left_out = ("output_dir", "data_root", "runtime", *(() if workspace.round else ("rounds",)))
    settings["rounds"]["count"] = workspace.round
    settings["training"] = workspace.config.training.recorded()
    settings["report"] = asdict(ReportSettings())  # which once was a section
    settings["relations"] |= {key: getattr(RelationTraining(), key) for key in ("standalone_bias", "steps")}  # once settings
    del settings["upstream"]["min_ap"]  # which stops a run or does not
    if not settings["answers"]:
        del settings["answers"]
    settings["datasets"] = [{key: one[key] for key in one if key != "classes" or one[key]} for one in settings["datasets"]]
    return sha256_of_json({key: settings[key] for key in settings if key not in left_out})


def _read(workspace: Workspace, path: Path, part: DetectionDataset, space: str) -> LabelTable:
    """A labels file of the images of a part, from its shards where they are what it was written from.

    Raises:
        InputError: if the file is wrong, or its images are not those of the part.
    """
    table = read_run_labels(workspace.paths.root, path, part.labels, workspace.data.space(space))
    if not np.array_equal(table.image_ids, part.labels.image_ids):
        raise InputError(
            table.path, f"its images are not those of {name_of(part.labels.path)}", "delete it and run its stage again"
        )
    return table
