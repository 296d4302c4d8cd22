"""Convert a dataset from another format to COCO JSON; its images stay where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from lat.core.errors import InputError, did_you_mean
from lat.data.manifest import hashed_entries, write_manifest
from lat.engine.progress import track
from lat.formats.importers import FORMATS
from lat.formats.importers.source import Importer
from lat.formats.importers.writer import ImportOptions, ImportSummary, write_import

__all__ = ["ImportOptions", "import_dataset"]


def import_dataset(
    form: str,
    root: Path,
    out: Path,
    *,
    splits: Sequence[str] = (),
    settings: Sequence[str] = (),
    options: ImportOptions | None = None,
) -> list[ImportSummary]:
    """Import splits of a dataset, each as `OUT/SPLIT.json` with `OUT/SPLIT.manifest.json`, what it was made from.

    Beside them, `OUT/SPLIT.manifest.parquet` says what the image files are (see `lat.data.manifest`).

    Args:
        form: a key of `FORMATS`.
        root: the folder of the dataset.
        out: the folder to write to; created if missing.
        splits: which to import; by default the one that the format calls its training split.
        settings: `key=value` for each setting of the format that differs from its default.
        options: which images to import; all by default.

    Raises:
        InputError: if an argument is wrong, or the files do not follow the format.
    """
    if form not in FORMATS:
        raise InputError("FORMAT", f"is '{form}'", did_you_mean(form, list(FORMATS)))
    kind = FORMATS[form]
    if splits and not kind.has_splits:
        raise InputError("--split", f"is given, but {form} has no splits", "leave it out")
    values = parse_settings(kind, form, settings)
    chosen: list[dict[str, Any]] = [{"split": split} for split in dict.fromkeys(splits)] or [{}]
    importers = [kind(root, out, **values, **one) for one in chosen]
    return [_import_split(importer, form, options or ImportOptions()) for importer in importers]


def parse_settings(kind: type[Importer], form: str, settings: Sequence[str]) -> dict[str, Any]:
    """The settings of a format, converted to their types.

    Raises:
        InputError: if one is not `key=value`, not known, or not of its type.
    """
    known = [one for one in fields(kind) if one.init and one.name not in ("root", "out", "split")]
    defaults: dict[str, Any] = {one.name: one.default for one in known}
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        where = f"lat import {form}"
        if not equals:
            raise InputError(where, f"the setting '{setting}' is not key=value", "write, for example, KEY=VALUE")
        if key not in defaults:
            remedy = did_you_mean(key, sorted(defaults)) if defaults else "this format has no settings"
            raise InputError(where, f"there is no setting '{key}'", remedy)
        try:
            values[key] = type(defaults[key])(value)
        except ValueError:
            raise InputError(where, f"{key} is '{value}'", "use a number") from None
    return values


def _import_split(importer: Importer, form: str, options: ImportOptions) -> ImportSummary:
    total = sum(1 for _ in importer.names())
    with track(total, f"import {importer.split}") as progress:
        summary = write_import(importer, options, form, importer.out / f"{importer.split}.json", lambda: progress.advance(1))
    with track(summary.images, f"hash {importer.split}", after_seconds=2) as progress:
        entries = []
        for entry in hashed_entries(summary.images_dir, summary.file_names):
            entries.append(entry)
            progress.advance()
    write_manifest(summary.labels, summary.images_dir, entries)
    return summary
