"""Commands on single labels files, whatever wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="A COCO labels file of any origin.", show_default=False)],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="yolo, voc or coco.", show_default=False)],
    images: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the images.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to make; it must be new or empty.", show_default=False)],
    val: Annotated[Path | None, typer.Option(metavar="LABELS", help="A second labels file, for validation.")] = None,
    val_images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of its images, if they lie elsewhere.", show_default=False)
    ] = None,
    min_score: Annotated[float, typer.Option(metavar="X", help="Leave out boxes with a lower score.")] = 0.0,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images instead of linking them.")] = False,
) -> None:
    """Write a labels file and its images as YOLO, Pascal VOC or COCO, for other tools. Images are linked, not copied."""
    from lat.stages.export import export_files

    summary = export_files(labels, images, to, out, val=val, val_images=val_images, copy=copy, min_score=min_score)
    print(f"wrote {out}: {summary.images} images, {summary.boxes} boxes")
    for line in summary.losses:
        print(f"note: {line}")
