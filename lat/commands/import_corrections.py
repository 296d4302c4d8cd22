"""Bring corrected labels back from the tool to which they were exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lat.core.errors import InputError, did_you_mean
from lat.core.files import sha256_of_file
from lat.formats.corrections import FORMATS
from lat.formats.corrections.merge import CorrectedLabels, merge_corrections
from lat.formats.exports.fiftyone import field_of
from lat.labels.coco.read import read_labels
from lat.labels.coco.write import write_table


@dataclass(frozen=True)
class CorrectionOptions:
    """How the labels were exported.

    Attributes:
        field: for tools with label fields, the one that was corrected; by default the one that the labels were exported as.
        min_score: the `--min-score` of the export.
    """

    field: str = ""
    min_score: float = 0.0


def import_corrections(
    tool: str, corrections: Path, labels: Path, out: Path, options: CorrectionOptions | None = None, *, force: bool = False
) -> tuple[CorrectedLabels, tuple[str, ...]]:
    """Write a corrected copy of a labels file, in its own label space; the file itself does not change.

    Args:
        tool: a key of `FORMATS`.
        corrections: what the tool has exported.
        labels: the labels file that was exported to it.
        out: the file to write.
        options: the defaults of `CorrectionOptions` if not given.
        force: overwrite an existing file.

    Returns:
        What became of the boxes, and what was skipped, one line each.

    Raises:
        InputError: if a file is missing or wrong, `out` is the labels file itself or already exists, or the corrections are
            not of these labels; see `merge_corrections`.
    """
    options = options or CorrectionOptions()
    if tool not in FORMATS:
        raise InputError("FORMAT", f"is '{tool}'", did_you_mean(tool, list(FORMATS)))
    if out.exists() and labels.exists() and out.samefile(labels):
        raise InputError(out, "is the labels file itself, which must not change", "name another file with --out")
    if out.exists() and not force:
        raise InputError(out, "already exists", "name another file with --out, or replace it with --force")
    table = read_labels(labels, labels.stem)
    has_fields = FORMATS[tool].has_fields
    found = FORMATS[tool].read(corrections, (options.field or field_of(table)) if has_fields else "")
    merged = merge_corrections(table, found, min_score=options.min_score)
    corrected = {"tool": tool, "file_sha256": sha256_of_file(found.path), "labels_sha256": sha256_of_file(labels)}
    write_table(out, replace(merged.table, info={**table.info, "corrected": corrected}))
    notes = list(found.notes)
    if merged.untouched_images:
        notes.append(f"{merged.untouched_images} of {len(table)} images did not come back and keep their boxes")
    return merged, tuple(notes)


def parse_options(tool: str, settings: Sequence[str]) -> CorrectionOptions:
    """The `key=value` settings of `lat import` for corrections.

    Raises:
        InputError: if one is not `key=value`, not known to the tool, or not of its type.
    """
    known = {"min_score": float, **({"field": str} if FORMATS[tool].has_fields else {})}
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(
                f"lat import {tool}", f"the setting '{setting}' is not key=value", "write, for example, min_score=0.3"
            )
        if key not in known:
            raise InputError(f"lat import {tool}", f"there is no setting '{key}'", did_you_mean(key, sorted(known)))
        try:
            values[key] = known[key](value)
        except ValueError:
            raise InputError(f"lat import {tool}", f"{key} is '{value}'", "use a number") from None
    return CorrectionOptions(**values)
