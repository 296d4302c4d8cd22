"""Two annotators side by side."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from lat.cli.command import LABELS, Command
from lat.cli.modes import next_step, tell_page, with_modes
from lat.core.errors import InputError
from lat.core.remote import as_path, name_of
from lat.engine import announce


@with_modes
def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A", parser=as_path, help="A COCO labels file, by path or URL.", show_default=False)
    ],
    second: Annotated[
        Path,
        typer.Argument(
            metavar="B", parser=as_path, help="Another one of the same images; its classes may be others.", show_default=False
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=as_path,
            help="With --out: folder of the images, for a page with those on which the two disagree most.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write compare.json there, and with --images the page index.html.", show_default=False),
    ] = None,
    min_score: Annotated[float, typer.Option(metavar="X", help="Leave out boxes with a lower score.")] = 0.0,
) -> None:
    """Compare two annotators, or any two labels files of the same images, whatever their class lists; no training.

    Boxes match by place. It tells what each class of A is in B, what either misses or draws twice, how their boxes differ, and
    how far they agree.
    """
    from lat.cli.tables.comparison import print_comparison
    from lat.commands.compare import check_folders, compare_files, write_comparison

    if out is None and images is not None:
        raise InputError("--images", "is given without --out", "name a folder for the page with --out")
    if out is not None:
        check_folders(out, images)
    comparison = compare_files(first, second, min_score)
    if out is not None:
        write_comparison(comparison, out, images)
    if announce.to_programs():
        announce.event("result", table="compare", **comparison.figures)
    else:
        print_comparison(comparison.figures)
    if out is not None and images is not None:
        tell_page(out / "index.html")
    next_step(_next_command(first, second, images))


def _next_command(first: Path, second: Path, images: Path | None) -> str:
    """The page, or if it is written a run that learns to move labels from the one protocol to the other."""
    files = [name_of(path) for path in (first, second)]
    if images is None:
        return shlex.join(["lat", "compare", *files, "--images", "IMAGES", "--out", "compared"])
    named = [f"{name}={name_of(images)},{file}" for name, file in zip("ab", files, strict=True)]
    return shlex.join(["lat", "init", "--dataset", named[0], "--dataset", named[1], "--out", "mine.yaml"])


COMMANDS = {
    "compare": Command(
        compare,
        LABELS,
        (
            "lat compare team_a.json team_b.json",
            "lat compare team_a.json team_b.json --images data/images --out compared",
            "lat compare truth.json runs/mine/transferred/theirs.ours.json --min-score 0.5",
        ),
    ),
}
