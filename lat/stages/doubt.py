"""Rank transferred labels by doubt, without truth: `doubt/S.T.json`."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np

from lat.core.files import open_atomically, sha256_of_file
from lat.engine.progress import track
from lat.evaluation.box_doubt import Doubt, doubt
from lat.labels.table import LabelTable
from lat.stages.transfer.no_counterpart import boxes_without_counterpart
from lat.workspace.label_files import read_pseudo_labels
from lat.workspace.workspace import Workspace

DECIMALS = 4
ROWS_AT_ONCE = 10_000


def pair_doubt(workspace: Workspace, source: str, target: str, transferred: LabelTable) -> Doubt:
    """Doubt of the labels transferred from the training images of `source` to `target`."""
    views = [workspace.data.train_part(source).labels.where(~workspace.data.train_part(source).labels.is_crowd)]
    views += [read_pseudo_labels(workspace, source, space) for space in workspace.data.proposal_spaces(source)]
    odd = boxes_without_counterpart(workspace, source, target)
    pseudo = read_pseudo_labels(workspace, source, target)
    with track(2 * len(transferred), f"doubt of {source} to {target}", after_seconds=2) as progress:
        return doubt(transferred, pseudo, views, odd, progress.advance)


def write_doubt(workspace: Workspace, source: str, target: str, transferred: LabelTable, found: Doubt) -> None:
    """Write the ranking of images and boxes, most doubtful first."""
    path = workspace.paths.transferred(source, target)
    labels = {"file": str(path.relative_to(workspace.paths.root)), "sha256": sha256_of_file(path)}
    head = _json({"source": source, "target": target, "labels": labels})
    with open_atomically(workspace.paths.doubt(source, target)) as file:
        file.write(head[:-1].encode())
        for name, order, rows in (
            ("images", _ranked(found.images), partial(_images, transferred, found)),
            ("boxes", _ranked(found.boxes), partial(_boxes, transferred, found)),
        ):
            file.write(f',"{name}":['.encode())
            for start in range(0, len(order), ROWS_AT_ONCE):
                some = _json(rows(order[start : start + ROWS_AT_ONCE]))
                file.write((("," if start else "") + some[1:-1]).encode())
            file.write(b"]")
        file.write(b"}\n")


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _ranked(doubts: np.ndarray) -> np.ndarray:
    """The order (N,) int64 of doubts (N,), highest first."""
    return np.lexsort((np.arange(len(doubts)), -doubts.round(DECIMALS)))


def _images(transferred: LabelTable, found: Doubt, order: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "image_id": int(transferred.image_ids[i]),
            "file_name": transferred.file_names[i],
            "doubt": round(float(found.images[i]), DECIMALS),
        }
        for i in order.tolist()
    ]


def _boxes(transferred: LabelTable, found: Doubt, order: np.ndarray) -> list[dict[str, Any]]:
    images = transferred.image_ids[np.searchsorted(transferred.offsets, order, side="right") - 1]
    columns = {name: part[order].tolist() for name, part in found.parts.items()}
    parts = (
        dict(zip(columns, (round(value, DECIMALS) for value in row), strict=True)) for row in zip(*columns.values(), strict=True)
    )
    rows = zip(transferred.annotation_ids[order].tolist(), images.tolist(), found.boxes[order].tolist(), parts, strict=True)
    return [
        {"annotation_id": annotation, "image_id": image, "doubt": round(value, DECIMALS), "parts": of_box}
        for annotation, image, value, of_box in rows
    ]
