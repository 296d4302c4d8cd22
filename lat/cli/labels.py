"""Commands on single labels files, whoever wrote them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from lat.cli.command import LABELS, Command
from lat.cli.modes import next_step
from lat.cli.options import one_of, open_run
from lat.core.errors import InputError, printable
from lat.core.remote import as_path, is_file, is_remote
from lat.formats import corrections, exports


def export(
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS",
            parser=as_path,
            help="A COCO labels file, by path or URL; or a run, by its YAML file or folder, for all that a target trains on.",
            show_default=False,
        ),
    ],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help=f"{one_of(exports.FORMATS)}.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to create; it must be new or empty.", show_default=False)],
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", parser=as_path, help="Folder of the images of LABELS, by path or URL.", show_default=False),
    ] = None,
    target: Annotated[
        str,
        typer.Option(metavar="NAME", help="Of a run with several targets: the one whose dataset is written.", show_default=False),
    ] = "",
    val: Annotated[
        Path | None, typer.Option(metavar="LABELS", parser=as_path, help="A second labels file, for validation.")
    ] = None,
    val_images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", parser=as_path, help="Folder of its images, if they are elsewhere.", show_default=False),
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME=LABELS",
            help="With fiftyone: more labels of the same images, as the field NAME. Once per file.",
            show_default=False,
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Leave out boxes with a lower score; of a run, by default those below downstream.labels.trained_threshold.",
            show_default=False,
        ),
    ] = None,
    most_doubtful: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Of transferred labels: only the N images that `lat report` finds most doubtful, for review.",
            show_default=False,
        ),
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images instead of linking them.")] = False,
) -> None:
    """Write a labels file, or all that a target of a run trains on, with its images in the format of another tool.

    Images are linked, not copied. Labels that are then corrected in an annotation tool come back with `lat import --labels`.
    """
    if labels.suffix in (".yaml", ".yml") or _is_run(labels):
        if images or val or val_images or more or most_doubtful:
            what = "takes no --images, --val, --with or --most-doubtful for a run"
            raise InputError("lat export", what, "leave them out: it knows its images")
        workspace = open_run(labels, None)
        from lat.commands.export_run import export_run

        summary = export_run(workspace, to, out, target, min_score=min_score, copy=copy)
    else:
        from lat.commands.export import ExportOptions, export_files

        if images is None:
            raise InputError("--images", "is missing", "name the folder of the images")
        if target:
            raise InputError("--target", "is given for a single labels file", "leave it out, or name a run")
        named = dict(map(_named_file, more or ()))
        options = ExportOptions(val, val_images, named, copy=copy, min_score=min_score or 0.0, most_doubtful=most_doubtful)
        summary = export_files(labels, images, to, out, options)
    print(f"wrote {printable(out)}: {summary.images} images, {summary.boxes} boxes")
    for line in summary.losses:
        print(printable(f"note: {line}"))
    if to in corrections.FORMATS:
        print(f"correct them there (see docs/export.md), then: {_way_back(to, labels)}")
    else:
        next_step(exports.FORMATS[to].train_with.format(out=out) or f"ls {shlex.quote(str(out))}")


def _is_run(place: Path) -> bool:
    """True for the folder of a run, here or at a URL; servers of single files are not asked."""
    return (not is_remote(place) or not place.suffix) and is_file(place / "config.yaml")


def _named_file(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or not path or not name.isidentifier():
        raise InputError("--with", f"is '{text}'", "write NAME=LABELS, for example ground_truth=labels.json")
    return name, as_path(path)


def _way_back(tool: str, labels: Path) -> str:
    """The command that imports the corrected labels."""
    exported = corrections.FORMATS[tool].exported_as
    return f"lat import {shlex.join([tool, '--root', exported, '--labels', str(labels)])}"


COMMANDS = {
    "export": Command(
        export,
        LABELS,
        (
            "lat export runs/mine --to yolo --out exports/yolo",
            "lat export runs/mine/transferred/theirs.ours.json --to yolo --images data/theirs/images --out exports/theirs",
            "lat export runs/mine/transferred/theirs.ours.json --to cvat --images data/theirs/images --out exports/review "
            "--most-doubtful 50",
            "lat export runs/mine --to huggingface --out exports/mine",
            "lat export data/ours/train.json --to voc --images data/ours/images --out exports/voc --val data/ours/val.json",
            "lat export runs/mine/transferred/theirs.ours.json --to fiftyone --images data/theirs/images --out exports/fiftyone "
            "--with ground_truth=data/theirs/annotations.json --with pseudo=runs/mine/pseudo_labels/theirs.ours.json",
        ),
    ),
}
