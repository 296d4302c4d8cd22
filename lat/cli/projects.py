"""Commands that make something to run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def street_scenes(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to draw into.", show_default=False)],
    difficulty: Annotated[str, typer.Option(help="easy or hard.")] = "easy",
    seed: Annotated[int, typer.Option(help="Seed of the drawing.")] = 0,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help="A dataset to draw (city, nu, way or bdd), once for each; all but bdd if none is given.", show_default=False
        ),
    ] = None,
) -> None:
    """Draw the embedded benchmark: street images, each dataset under its own annotation protocol, with truth in the others'."""
    from lat.stages.street_scenes import DEFAULT_DATASETS, draw_benchmark

    config = draw_benchmark(out, difficulty=difficulty, seed=seed, datasets=dataset or DEFAULT_DATASETS)
    print(f"drew {out}; next: lat run {config}")


def import_(
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="coco, voc, yolo, kitti, open-images, cityscapes, nuimages, waymo, bdd100k, acdc, shift or synscapes.",
            show_default=False,
        ),
    ],
    root: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the dataset.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write labels and manifests into.", show_default=False)],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings of the format, as classes=standard.")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="A part to import, once for each; the training part if none is given.")
    ] = None,
    subset: Annotated[int | None, typer.Option(metavar="N", help="Import N images of each part, drawn by hash.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    hash_images: Annotated[bool, typer.Option("--hash-images", help="Put the SHA-256 of every image into the manifest.")] = False,
) -> None:
    """Read a public dataset or another format and write COCO JSON.

    Images stay where they are; those of Waymo are written out.
    """
    from lat.stages.import_dataset import import_dataset
    from lat.stages.import_tables import print_import

    for summary in import_dataset(
        form, root, out, splits=split or (), settings=settings or (), subset=subset, seed=seed, hash_images=hash_images
    ):
        print_import(summary)
