"""Rank transferred labels by doubt, without truth: `doubt/S.T.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
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
    head = {"source": source, "target": target, "labels": labels}
    write_ranking(workspace.paths.doubt(source, target), head, transferred, found)


def write_ranking(path: Path, head: Mapping[str, Any], transferred: LabelTable, found: Doubt) -> None:
    """Write `head`, and after it the `images` and `boxes` of transferred labels, most doubtful first, as one JSON object."""
    parts = {"images": (found.images, _images), "boxes": (found.boxes, _boxes)}
    with open_atomically(path) as file:
        file.write(_json(head)[:-1].encode())
        for name, (doubts, rows) in parts.items():
            file.write(f',"{name}":['.encode())
            order = np.lexsort((np.arange(len(doubts)), -doubts.round(DECIMALS)))
            for start in range(0, len(order), ROWS_AT_ONCE):
                some = _json(rows(transferred, found, order[start : start + ROWS_AT_ONCE]))
                file.write((("," if start else "") + some[1:-1]).encode())
            file.write(b"]")
        file.write(b"}\n")


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


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
