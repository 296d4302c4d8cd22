"""The command that reads what other tools have written: datasets in other formats, and corrections of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lat.core.errors import InputError


def import_(
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="coco, voc, yolo, kitti, open-images, cityscapes, nuimages, waymo, bdd100k, acdc, shift or synscapes; "
            "with --labels cvat, label-studio or fiftyone.",
            show_default=False,
        ),
    ],
    root: Annotated[
        Path,
        typer.Option(
            metavar="PATH", help="Folder of the dataset; of corrections what the tool has exported.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="PATH", help="Folder to write labels and manifests into; of corrections the file.", show_default=False
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings of the format, as classes=standard; of corrections min_score=X, the --min-score of the export, "
            "and with fiftyone field=NAME, if it is not the one that LABELS was exported as.",
        ),
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="A part to import, once for each; the training part if none is given.")
    ] = None,
    subset: Annotated[int | None, typer.Option(metavar="N", help="Import N images of each part, drawn by hash.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    hash_images: Annotated[bool, typer.Option("--hash-images", help="Put the SHA-256 of every image into the manifest.")] = False,
    labels: Annotated[
        Path | None, typer.Option(metavar="LABELS", help="Of corrections: the labels file that had been exported.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Of corrections: write over a file that is there.")] = False,
) -> None:
    """Read a public dataset or another format and write COCO JSON; or bring back labels that a person has corrected.

    Images stay where they are; those of Waymo are written out. With --labels, boxes that nobody has touched keep id, score and
    provenance, and the others are marked as a person's; LABELS is never changed.
    """
    from lat.cli.tables.imports import print_corrections, print_import
    from lat.commands.import_corrections import TOOLS, import_corrections, parse_settings
    from lat.commands.import_dataset import import_dataset

    if (labels is None) == (form in TOOLS):
        what = "needs --labels" if labels is None else "takes no --labels"
        raise InputError(f"lat import {form}", what, f"corrections of labels come from {', '.join(TOOLS)}")
    if labels is not None:
        if split or subset is not None or hash_images:
            raise InputError(f"lat import {form}", "takes no --split, --subset or --hash-images", "leave them out")
        chosen = parse_settings(form, settings or ())
        print_corrections(out, *import_corrections(form, root, labels, out, force=force, **chosen))
        return
    for summary in import_dataset(
        form, root, out, splits=split or (), settings=settings or (), subset=subset, seed=seed, hash_images=hash_images
    ):
        print_import(summary)
