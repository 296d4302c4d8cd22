"""Rank transferred labels by doubt, without truth: `doubt/S.T.json`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from lat.core.files import sha256_of_file, write_atomically
from lat.evaluation.box_doubt import Doubt, doubt
from lat.labels.table import LabelTable
from lat.stages.transfer.no_counterpart import boxes_without_counterpart
from lat.workspace.label_files import read_pseudo_labels
from lat.workspace.workspace import Workspace

DECIMALS = 4


def pair_doubt(workspace: Workspace, source: str, target: str, transferred: LabelTable) -> Doubt:
    """Doubt of the labels transferred from the training images of `source` to `target`."""
    views = [workspace.data.train_part(source).labels.where(~workspace.data.train_part(source).labels.is_crowd)]
    views += [read_pseudo_labels(workspace, source, space) for space in workspace.data.proposal_spaces(source)]
    odd = boxes_without_counterpart(workspace, source, target)
    return doubt(transferred, read_pseudo_labels(workspace, source, target), views, odd)


def write_doubt(workspace: Workspace, source: str, target: str, transferred: LabelTable, found: Doubt) -> None:
    """Write the ranking of images and boxes, most doubtful first."""
    path = workspace.paths.transferred(source, target)
    ranking = {
        "source": source,
        "target": target,
        "labels": {"file": str(path.relative_to(workspace.paths.root)), "sha256": sha256_of_file(path)},
        "images": _images(transferred, found),
        "boxes": _boxes(transferred, found),
    }
    write_atomically(workspace.paths.doubt(source, target), json.dumps(ranking, allow_nan=False, separators=(",", ":")) + "\n")


def _images(transferred: LabelTable, found: Doubt) -> list[dict[str, Any]]:
    order = np.lexsort((np.arange(len(found.images)), -found.images.round(DECIMALS)))
    return [
        {
            "image_id": int(transferred.image_ids[i]),
            "file_name": transferred.file_names[i],
            "doubt": round(float(found.images[i]), DECIMALS),
        }
        for i in order.tolist()
    ]


def _boxes(transferred: LabelTable, found: Doubt) -> list[dict[str, Any]]:
    images = np.repeat(transferred.image_ids, np.diff(transferred.offsets))
    order = np.lexsort((np.arange(len(found.boxes)), -found.boxes.round(DECIMALS)))
    return [
        {
            "annotation_id": int(transferred.annotation_ids[row]),
            "image_id": int(images[row]),
            "doubt": round(float(found.boxes[row]), DECIMALS),
            "parts": {name: round(float(part[row]), DECIMALS) for name, part in found.parts.items()},
        }
        for row in order.tolist()
    ]
