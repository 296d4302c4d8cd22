"""Commands on single labels files, whatever wrote them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from lat.cli.modes import next_step
from lat.core.errors import InputError


def export(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="A COCO labels file of any origin.", show_default=False)],
    to: Annotated[
        str,
        typer.Option("--to", metavar="FORMAT", help="yolo, voc, coco, fiftyone, cvat or label-studio.", show_default=False),
    ],
    images: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the images.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to make; it must be new or empty.", show_default=False)],
    val: Annotated[Path | None, typer.Option(metavar="LABELS", help="A second labels file, for validation.")] = None,
    val_images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of its images, if they lie elsewhere.", show_default=False)
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME=LABELS",
            help="With fiftyone: more labels of the same images as the field NAME. Once for each.",
            show_default=False,
        ),
    ] = None,
    min_score: Annotated[float, typer.Option(metavar="X", help="Leave out boxes with a lower score.")] = 0.0,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images instead of linking them.")] = False,
) -> None:
    """Write a labels file and its images for other tools. Images are linked, not copied.

    To train with: YOLO, Pascal VOC, COCO. To look at and correct: FiftyOne, CVAT, Label Studio; `lat import` brings the
    corrections back.
    """
    from lat.commands.export import export_files
    from lat.commands.import_corrections import TOOLS

    layers = dict(map(_named_file, more or ()))
    summary = export_files(labels, images, to, out, val=val, val_images=val_images, layers=layers, copy=copy, min_score=min_score)
    print(f"wrote {out}: {summary.images} images, {summary.boxes} boxes")
    for line in summary.losses:
        print(f"note: {line}")
    if to in TOOLS:
        print(f"correct them there (docs/export.md says how), then: {_way_back(to, labels, min_score)}")
    else:
        next_step({"yolo": f"yolo detect train data={out}/data.yaml"}.get(to, f"ls {shlex.quote(str(out))}"))


def _named_file(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or not path or not name.isidentifier():
        raise InputError("--with", f"is '{text}'", "write NAME=LABELS, as in ground_truth=labels.json")
    return name, Path(path)


def _way_back(tool: str, labels: Path, min_score: float) -> str:
    """The command that brings corrections back."""
    what = {"cvat": "task.zip", "label-studio": "project.json", "fiftyone": "FOLDER"}[tool]
    words = [tool, "--root", what, "--labels", str(labels), "--out", str(labels.with_suffix(".corrected.json"))]
    return f"lat import {shlex.join(words)}" + (f" min_score={min_score:g}" if min_score else "")
