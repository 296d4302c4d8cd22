"""The command that reads what other tools have written: datasets in other formats, and corrected labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lat.cli.command import LABELS, Command
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
        Path,
        typer.Option(
            metavar="PATH",
            help="Folder to write labels and manifests to; for corrections, the labels file to write.",
            show_default=False,
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings of the format, such as classes=standard. For corrections: min_score=X, the --min-score of the "
            "export, and with fiftyone field=NAME, unless it is the field that LABELS was exported as.",
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
    force: Annotated[bool, typer.Option("--force", help="For corrections: overwrite an existing file.")] = False,
) -> None:
    """Convert a public dataset or another format to COCO JSON; or bring back labels that were corrected in another tool.

    Images stay where they are; only those of Waymo are written out. With --labels, boxes that nobody touched keep their id,
    score and provenance, and the others are marked as drawn by a person; LABELS itself never changes.
    """
    from lat.cli.tables.imported import print_corrections, print_import
    from lat.commands.import_corrections import import_corrections, parse_options
    from lat.commands.import_dataset import ImportOptions, import_dataset

    if (labels is None) == (form in corrections.FORMATS):
        what = "needs --labels" if labels is None else "takes no --labels"
        raise InputError(f"lat import {form}", what, f"corrected labels come from {one_of(corrections.FORMATS)}")
    if labels is not None:
        if split or subset is not None or hash_images:
            raise InputError(f"lat import {form}", "takes no --split, --subset or --hash-images", "leave them out")
        options = parse_options(form, settings or ())
        print_corrections(out, *import_corrections(form, root, labels, out, options, force=force))
        return
    chosen = ImportOptions(subset, seed, hash_images)
    for summary in import_dataset(form, root, out, splits=split or (), settings=settings or (), options=chosen):
        print_import(summary)


COMMANDS = {
    "import": Command(
        import_,
        LABELS,
        (
            "lat import cityscapes --root data/cityscapes --out data/imported/cityscapes --split train --split val",
            "lat import cvat --root task.zip --labels runs/mine/transferred/theirs.ours.json --out theirs.ours.corrected.json",
            "lat import label-studio --root project.json --labels theirs.ours.json --out corrected.json min_score=0.3",
            "lat import fiftyone --root back --labels theirs.ours.json --out corrected.json field=transferred",
        ),
    ),
}
