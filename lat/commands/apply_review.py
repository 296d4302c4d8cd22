"""Write a corrected labels file from what was accepted and rejected in the report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lat.core.documents import read_json
from lat.core.errors import InputError
from lat.core.files import sha256_of_file
from lat.labels.coco.read import read_labels
from lat.labels.coco.write import write_table
from lat.labels.reviewed import reviewed_path, with_review, write_review
from lat.labels.table import LabelTable, find_ids

__all__ = ["Decisions", "Reviewed", "apply_decisions", "read_decisions", "reviewed_path", "reviewed_table"]

FORMAT, VERSION = "lat review decisions", 1
DECISIONS = ("accept", "reject")
_AGAIN = "download the decisions from the report again"


@dataclass(frozen=True)
class Decisions:
    """What was decided: the decision on each box and image, by id."""

    labels_file: str
    labels_sha256: str
    boxes: dict[int, str]
    images: dict[int, str]


@dataclass(frozen=True)
class Reviewed:
    """What `apply_decisions` wrote, from which labels, and how many boxes and images it accepted and left out.

    `note` says what became of another review that was there; "" if there was none.
    """

    path: Path
    labels_file: Path
    accepted: int
    rejected: int
    rejected_images: int
    note: str = ""


def apply_decisions(
    decisions_file: Path, labels_file: Path | None = None, out: Path | None = None, *, force: bool = False
) -> Reviewed:
    """Write the labels file with the decisions applied; the original does not change.

    A rejected box is left out. An accepted one gets score 1, since a person has confirmed it. A rejected image is left out with
    all its boxes: without them its objects would count as background. An accepted image accepts all its boxes that have no
    decision of their own. Everything else stays as it is, ids included.

    Args:
        decisions_file: the JSON file downloaded from the report.
        labels_file: the labels that were reviewed; by default the file that the decisions name.
        out: the file to write; by default `NAME.reviewed.json` beside the labels; another review that is there is kept.
        force: replace `out` if there is such a file.

    Raises:
        InputError: if a file is missing or damaged, the labels have changed since the review, the decisions name a box or an
            image that is not in them, or `out` exists, or is one of the two files themselves.
    """
    decisions = read_decisions(decisions_file)
    labels_file = labels_file or Path(decisions.labels_file)
    if not labels_file.is_file():
        raise InputError(decisions_file, f"is about {labels_file}, which does not exist", "name the labels file with --labels")
    is_usual = out is None
    out = out or reviewed_path(labels_file)
    for kept, what in ((labels_file, "labels file"), (decisions_file, "file of decisions")):
        if out.resolve() == kept.resolve() or (out.exists() and out.samefile(kept)):
            raise InputError(out, f"is the {what} itself, which must not change", "choose another file with --out")
    if out.exists() and not force and not is_usual:
        raise InputError(out, "already exists", "name another file with --out, or replace it with --force")
    if sha256_of_file(labels_file) != decisions.labels_sha256:
        what = f"is about another version of {labels_file}: its SHA-256 has changed since the review"
        raise InputError(decisions_file, what, "review the current labels, or name the reviewed file with --labels")
    table = read_labels(labels_file, labels_file.stem)
    reviewed = reviewed_table(table, decisions, decisions_file)
    accepted, kept_images = np.isin(reviewed.annotation_ids, _ids(_box_decisions(table, decisions), "accept")), len(reviewed)
    counts = Reviewed(out, labels_file, int(accepted.sum()), table.num_boxes - reviewed.num_boxes, len(table) - kept_images)
    review = {
        "labels_sha256": decisions.labels_sha256,
        "decisions_sha256": sha256_of_file(decisions_file),
        "accepted_boxes": counts.accepted,
        "removed_boxes": counts.rejected,
        "removed_images": counts.rejected_images,
    }
    info = with_review(table, decisions.labels_sha256, _decided_images(table, decisions))
    written = replace(reviewed, info={**info, "review": review})
    if is_usual:
        return replace(counts, note=write_review(out, written))
    write_table(out, written)
    return counts


def reviewed_table(table: LabelTable, decisions: Decisions, decisions_file: Path) -> LabelTable:
    """The labels with the decisions applied; see `apply_decisions`."""
    _require_known(decisions.boxes, table.annotation_ids, "annotation", table, decisions_file)
    _require_known(decisions.images, table.image_ids, "image", table, decisions_file)
    boxes = _box_decisions(table, decisions)
    scores = np.where(np.isin(table.annotation_ids, _ids(boxes, "accept")), np.float32(1), table.scores)
    kept = ~np.isin(table.annotation_ids, _ids(boxes, "reject"))
    shown = ~np.isin(table.image_ids, _ids(decisions.images, "reject"))
    return replace(table, scores=scores).where(kept).select(shown)


def _box_decisions(table: LabelTable, decisions: Decisions) -> dict[int, str]:
    """Decisions on boxes, including those that an accepted image implies."""
    images = np.repeat(table.image_ids, np.diff(table.offsets))
    implied = table.annotation_ids[np.isin(images, _ids(decisions.images, "accept"))]
    return dict.fromkeys(implied.tolist(), "accept") | decisions.boxes


def _decided_images(table: LabelTable, decisions: Decisions) -> list[int]:
    """Ids of the images with a decision, on the image or on one of its boxes."""
    by_box = np.isin(table.annotation_ids, list(decisions.boxes))
    images: list[int] = np.unique(table.image_ids[table.image_of_box[by_box]]).tolist()
    return [*images, *decisions.images]


def _ids(chosen: dict[int, str], decision: str) -> np.ndarray:
    return np.array([number for number, one in chosen.items() if one == decision], np.int64)


def _require_known(chosen: dict[int, str], ids: np.ndarray, kind: str, table: LabelTable, decisions_file: Path) -> None:
    wanted = np.array(list(chosen), np.int64)
    missing = wanted[~find_ids(wanted, ids)[1]]
    if len(missing):
        raise InputError(decisions_file, f"decides on {kind} {missing[0]}, which is not in {table.path}", _AGAIN)


def read_decisions(path: Path) -> Decisions:
    """Read a file of decisions.

    Raises:
        InputError: if it is missing, not JSON or not a file of decisions, or an entry is damaged.
    """
    try:
        content = read_json(path, Any, _AGAIN)
    except FileNotFoundError as error:
        raise InputError(
            path, f"cannot be read ({error.strerror})", "name the file that was downloaded from the report"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(path, "is not a file of review decisions", "name the file that was downloaded from the report")
    if content.get("version") != VERSION:
        raise InputError(path, f"has version {content.get('version')!r} of the format, not {VERSION}", "write the report again")
    labels = content.get("labels")
    if not isinstance(labels, dict) or not all(isinstance(labels.get(key), str) for key in ("file", "sha256")):
        raise InputError(path, "does not name the labels that were reviewed", _AGAIN)
    boxes = _entries(path, content.get("boxes"), "boxes", "annotation_id")
    return Decisions(labels["file"], labels["sha256"], boxes, _entries(path, content.get("images"), "images", "image_id"))


def _entries(path: Path, entries: Any, name: str, id_key: str) -> dict[int, str]:
    found: dict[int, str] = {}
    if not isinstance(entries, list):
        raise InputError(path, f"has no list `{name}`", _AGAIN)
    for place, entry in enumerate(entries):
        number = entry.get(id_key) if isinstance(entry, dict) else None
        if type(number) is not int or not 0 <= number < 1 << 63 or entry.get("decision") not in DECISIONS:
            raise InputError(
                path, f"entry {place} of `{name}` has no `{id_key}`, or a decision other than accept and reject", _AGAIN
            )
        if found.setdefault(number, entry["decision"]) != entry["decision"]:
            raise InputError(path, f"decides twice on {id_key} {number}", _AGAIN)
    return found
