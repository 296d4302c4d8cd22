"""Rank transferred labels by doubt, without truth: `doubt/S.T.json`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from lat.core.files import open_atomically, sha256_of_file
from lat.engine.jobs import Advance, uncounted
from lat.evaluation.box_doubt import Doubt, doubt
from lat.labels.table import LabelTable
from lat.stages.transfer.no_counterpart import boxes_without_counterpart
from lat.workspace.label_files import counted_labels, read_pseudo_labels, read_transferred
from lat.workspace.workspace import Workspace

DECIMALS = 4
ROWS_AT_ONCE = 10_000

_PART = "part "  # before the name of each of the parts in a shard's file


class DoubtShards:
    """The doubt of the labels of every direction, a shard for each; see `ShardJob`. A shard also writes its `doubt/S.T.json`.

    Args:
        workspace: the run.
        inputs: hash of all that it depends on.
    """

    is_preparation = True

    def __init__(self, workspace: Workspace, *, inputs: str) -> None:
        self.workspace, self.inputs, self.title = workspace, inputs, "doubt"
        self.pairs = workspace.transfers()
        self.sizes = [2 * len(workspace.data.train_part(source)) for source, _ in self.pairs]  # images are gone through twice
        self.folder = workspace.paths.root / ".work" / "doubt"

    def is_done(self, shard: int) -> bool:
        return self.workspace.paths.doubt(*self.pairs[shard]).is_file() and self._load(shard) is not None

    def run(self, shard: int, advance: Advance = uncounted) -> list[Path]:
        source, target = self.pairs[shard]
        transferred = counted_labels(self.workspace, read_transferred(self.workspace, source, target))
        found = pair_doubt(self.workspace, source, target, transferred, advance)
        write_doubt(self.workspace, source, target, transferred, found)
        columns: dict[str, Any] = {"boxes": found.boxes, "images": found.images, "overlooked": found.overlooked}
        columns |= {_PART + name: column for name, column in found.parts.items()}
        with open_atomically(self._path(shard)) as file:
            np.savez(file, inputs=np.array(self.inputs), **columns)
        return [self.workspace.paths.doubt(source, target), self._path(shard)]

    def found(self, source: str, target: str) -> Doubt:
        """The doubt of a direction, of which the shard is done."""
        doubt = self._load(self.pairs.index((source, target)))
        assert doubt is not None
        return doubt

    def finish(self) -> None:
        """Delete what is not needed once the report is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, shard: int) -> Path:
        return self.folder / f"{'.'.join(self.pairs[shard])}.npz"

    def _load(self, shard: int) -> Doubt | None:
        """What a shard found; None if it is missing, damaged, or of other inputs."""
        try:
            with np.load(self._path(shard), allow_pickle=False) as columns:
                if str(columns["inputs"]) != self.inputs:
                    return None
                parts = {name.removeprefix(_PART): columns[name] for name in columns.files if name.startswith(_PART)}
                return Doubt(columns["boxes"], parts, columns["images"], columns["overlooked"])
        except (OSError, ValueError, EOFError, KeyError, BadZipFile):
            return None


def pair_doubt(workspace: Workspace, source: str, target: str, transferred: LabelTable, advance: Advance = uncounted) -> Doubt:
    """Doubt of the labels transferred from the training images of `source` to `target`; counts each image twice."""
    views = [workspace.data.train_part(source).labels.where(~workspace.data.train_part(source).labels.is_crowd)]
    views += [read_pseudo_labels(workspace, source, space) for space in workspace.data.proposal_spaces(source)]
    odd = boxes_without_counterpart(workspace, source, target)
    return doubt(transferred, read_pseudo_labels(workspace, source, target), views, odd, advance)


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
