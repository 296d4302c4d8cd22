"""Bring corrected labels back from the tool to which they were exported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lat.core.errors import InputError, did_you_mean
from lat.core.files import sha256_of_file
from lat.formats.corrections import FORMATS
from lat.formats.corrections.merge import CorrectedLabels, merge_corrections
from lat.formats.exports.fiftyone import field_of
from lat.labels.coco.read import read_labels
from lat.labels.coco.write import write_table
from lat.labels.reviewed import reviewed_path, with_review, write_review

__all__ = ["FORMATS", "CorrectionOptions", "import_corrections", "reviewed_path"]

MOST_DELETED = 0.1
"""The share of the boxes of images that came back that may be missing without a word: more are rarely deleted on purpose."""


@dataclass(frozen=True)
class CorrectionOptions:
    """How the labels were exported.

    Attributes:
        field: for tools with label fields, the one that was corrected; by default the one that the labels were exported as.
        min_score: the `--min-score` of the export, for exports that have not kept it.
        allow_deletions: whether any number of boxes may have been deleted, and not just `MOST_DELETED`.
    """

    field: str = ""
    min_score: float | None = None
    allow_deletions: bool = False


def import_corrections(
    tool: str,
    corrections: Path,
    labels: Path,
    out: Path | None = None,
    options: CorrectionOptions | None = None,
    *,
    force: bool = False,
) -> tuple[CorrectedLabels, tuple[str, ...]]:
    """Write a corrected copy of a labels file, in its own label space; the file itself does not change.

    Args:
        tool: a key of `FORMATS`.
        corrections: what the tool has exported.
        labels: the labels file that was exported to it.
        out: the file to write; by default `NAME.reviewed.json` beside the labels; another review that is there is kept.
        options: the defaults of `CorrectionOptions` if not given.
        force: overwrite an existing file.

    Returns:
        What became of the boxes, and what was skipped, one line each.

    Raises:
        InputError: if a file is missing or wrong, `out` is the labels file itself or already exists, the corrections are not of
            these labels (see `merge_corrections`), or too many boxes are missing from them.
    """
    options, is_usual = options or CorrectionOptions(), out is None
    out = out or reviewed_path(labels)
    if tool not in FORMATS:
        raise InputError("FORMAT", f"is '{tool}'", did_you_mean(tool, list(FORMATS)))
    if out.exists() and labels.exists() and out.samefile(labels) and not is_usual:
        raise InputError(out, "is the labels file itself, which must not change", "name another file with --out")
    if out.exists() and not force and not is_usual:
        raise InputError(out, "already exists", "name another file with --out, or replace it with --force")
    if options.field and not FORMATS[tool].has_fields:
        raise InputError("--field", f"is given, but {tool} has no label fields", "leave it out")
    table = read_labels(labels, labels.stem)
    has_fields = FORMATS[tool].has_fields
    found = FORMATS[tool].read(corrections, (options.field or field_of(table)) if has_fields else "")
    merged = merge_corrections(table, found, min_score=found.min_score(options.min_score))
    if not options.allow_deletions:
        _require_few_deleted(corrections, merged)
    sha256 = sha256_of_file(labels)
    corrected = {"tool": tool, "file_sha256": sha256_of_file(found.path), "labels_sha256": sha256}
    info = with_review(table, sha256, merged.seen_images)
    written, notes = replace(merged.table, info={**info, "corrected": corrected}), list(found.notes)
    if not is_usual:
        write_table(out, written)
    elif note := write_review(out, written, goes_on=out == labels):
        notes.append(note)
    if merged.untouched_images:
        notes.append(f"{merged.untouched_images} of {len(table)} images did not come back and keep their boxes")
    return merged, tuple(notes)


def _require_few_deleted(path: Path, merged: CorrectedLabels) -> None:
    exported = merged.accepted + merged.changed + merged.deleted
    if merged.deleted > MOST_DELETED * exported:
        what = f"{merged.deleted} of the {exported} boxes that were exported did not come back"
        remedy = "if a person deleted them, add --allow-deletions; if the export left them out, give its --min-score"
        raise InputError(path, what, remedy)
