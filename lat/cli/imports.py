"""The command that reads what other tools have written: datasets in other formats, and corrected labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lat.cli.command import LABELS, Command
from lat.cli.modes import next_with_review
from lat.cli.options import one_of
from lat.core.errors import InputError
from lat.formats import corrections, importers


def import_(
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help=f"{one_of(importers.FORMATS)}; with --labels {one_of(corrections.FORMATS)}.",
            show_default=False,
        ),
    ],
    root: Annotated[
        Path,
        typer.Option(metavar="PATH", help="Folder of the dataset; for corrections, what the tool exported.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Folder to write labels and manifests to; for corrections, the labels file to write, by default "
            "NAME.reviewed.json beside LABELS.",
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings of the format, such as classes=standard.",
        ),
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Split to import, once per split; the training split by default.")
    ] = None,
    subset: Annotated[int | None, typer.Option(metavar="N", help="Import N images of each split, drawn by hash.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    hash_images: Annotated[bool, typer.Option("--hash-images", help="Add the SHA-256 of every image to the manifest.")] = False,
    labels: Annotated[
        Path | None, typer.Option(metavar="LABELS", help="For corrections: the labels file that was exported.")
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="For corrections: the --min-score of the export, if it has not kept it.", show_default=False
        ),
    ] = None,
    field: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="For fiftyone: the field that was corrected, if LABELS was not exported as it.",
            show_default=False,
        ),
    ] = "",
    allow_deletions: Annotated[
        bool, typer.Option("--allow-deletions", help="For corrections: more than a tenth of the boxes may be gone.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="For corrections: overwrite an existing file.")] = False,
) -> None:
    """Convert a public dataset or another format to COCO JSON; or bring back labels that were corrected in another tool.

    Images stay where they are; only those of Waymo are written out. With --labels, boxes that a person let stand keep their id
    and provenance and have score 1, and the others are marked as drawn by a person; LABELS itself never changes.
    """
    from lat.cli.tables.imported import print_corrections, print_import
    from lat.commands.import_corrections import CorrectionOptions, import_corrections, reviewed_path
    from lat.commands.import_dataset import ImportOptions, import_dataset

    if (labels is None) == (form in corrections.FORMATS):
        what = "needs --labels" if labels is None else "takes no --labels"
        raise InputError(f"lat import {form}", what, f"corrected labels come from {one_of(corrections.FORMATS)}")
    if labels is not None:
        if split or subset is not None or hash_images or settings:
            what = f"takes no {settings[0]}" if settings else "takes no --split, --subset or --hash-images"
            raise InputError(f"lat import {form}", what, "leave it out; see `lat import --help`")
        options = CorrectionOptions(field, min_score, allow_deletions)
        found, notes = import_corrections(form, root, labels, out, options, force=force)
        print_corrections(out or reviewed_path(labels), found, notes)
        next_with_review(out or reviewed_path(labels), labels)
        return
    if out is None:
        raise InputError("--out", "is missing", "name the folder to write labels and manifests to")
    chosen = ImportOptions(subset, seed, hash_images)
    for summary in import_dataset(form, root, out, splits=split or (), settings=settings or (), options=chosen):
        print_import(summary)


COMMANDS = {
    "import": Command(
        import_,
        LABELS,
        (
            "lat import cityscapes --root data/cityscapes --out data/imported/cityscapes --split train --split val",
            "lat import cvat --root task.zip --labels runs/mine/transferred/theirs.ours.json",
            "lat import label-studio --root project.json --labels theirs.ours.json --out corrected.json --min-score 0.3",
            "lat import fiftyone --root back --labels theirs.ours.json --out corrected.json --field transferred",
        ),
    ),
}
