"""The files of figures that a run keeps, read back: whatever has damaged one is one line that says how to write it anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Required, TypedDict

from lat.core.documents import read_json, read_json_lines

Figure = float | None


class ReliabilityBin(TypedDict):
    """Labels of similar scores."""

    score: float
    precision: float
    count: int


class Margins(TypedDict, total=False):
    """Half of the 95 % interval of a figure of AP; older runs have none."""

    ap_margin: Figure
    ap50_margin: Figure
    per_class_margin: dict[str, Figure]


class TransferRow(Margins):
    """How labels of one method fare against truth; a figure is None where it is undefined."""

    source: str
    target: str
    method: str
    ap: Figure
    ap50: Figure
    per_class: dict[str, Figure]
    images: int
    precision: Figure
    recall: Figure
    f1: Figure
    mean_iou: Figure
    ece: Figure
    f1_best: Figure
    threshold_best: Figure
    f1_chosen: Figure
    threshold_chosen: Figure
    reliability: list[ReliabilityBin]


class AgreementRow(TypedDict, total=False):
    """What became of the human boxes of a source."""

    source: Required[str]
    target: Required[str]
    kept: Required[int]
    moved: Required[int]
    added: Required[int]
    dropped: Required[int]
    class_changes: dict[str, dict[str, int]] | None


class DetectorRow(Margins, total=False):
    """The AP of a detector."""

    ap: Required[Figure]
    ap50: Required[Figure]
    per_class: dict[str, Figure]


class DownstreamRow(DetectorRow, total=False):
    """The AP of a downstream detector, and how it was trained."""

    target: Required[str]
    name: Required[str]
    method: Required[str]
    strategy: Required[str]
    detector: Required[str]


class Evaluation(TypedDict):
    """`evaluation.json`."""

    transfer: list[TransferRow]
    agreement: list[AgreementRow]
    downstream: list[DownstreamRow]


def read_evaluation(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The content of `evaluation.json`: rows by table.

    Raises:
        InputError: if the file is damaged.
        FileNotFoundError: if it does not exist.
    """
    content: dict[str, list[dict[str, Any]]] = read_json(path, Evaluation, "write it again with `lat evaluate CONFIG --force`")
    return content


def read_metrics(path: Path) -> dict[str, Any]:
    """The content of a detector's `metrics.json`; errors as `read_evaluation`."""
    content: dict[str, Any] = read_json(path, DetectorRow, f"remove {path.name}, and start `lat run` again")
    return content


def read_downstream_metrics(path: Path) -> dict[str, Any]:
    """The content of a downstream detector's `metrics.json`; errors as `read_evaluation`."""
    remedy = f"remove {path.name}, and start `lat train-downstream` again"
    content: dict[str, Any] = read_json(path, DownstreamRow, remedy)
    return content


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a training's `log.jsonl`; errors as `read_evaluation`."""
    return read_json_lines(path, dict[str, float | None], "remove the file, or train again")
