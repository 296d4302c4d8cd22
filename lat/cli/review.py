"""Commands on what was accepted and rejected in the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lat.cli.command import HelpfulCommand, HelpfulGroup, examples_of
from lat.cli.modes import next_with_review
from lat.core.errors import printable

EXAMPLES = (
    "lat review apply decisions.theirs.ours.json",
    "lat review apply decisions.theirs.ours.json --out theirs.ours.json --labels runs/mine/transferred/theirs.ours.json",
)

review = typer.Typer(
    cls=HelpfulGroup,
    no_args_is_help=True,
    help="Apply what was accepted and rejected in the report.",
    epilog=examples_of(EXAMPLES),
)


@review.command(cls=HelpfulCommand, epilog=examples_of(EXAMPLES))
def apply(
    decisions: Annotated[
        Path, typer.Argument(metavar="DECISIONS", help="The JSON file downloaded from the report.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write; NAME.reviewed.json beside the labels by default.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The labels that were reviewed, if they have moved.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With --out: overwrite an existing file.")] = False,
) -> None:
    """Write a corrected labels file: without rejected boxes, and with score 1 for accepted ones. The original stays as it is."""
    from lat.commands.apply_review import apply_decisions

    done = apply_decisions(decisions, labels, out, force=force)
    images = f"; images: {done.rejected_images} left out" if done.rejected_images else ""
    print(f"wrote {printable(done.path)}: boxes: {done.accepted} accepted, {done.rejected} left out{images}")
    if done.note:
        print(printable(f"note: {done.note}"))
    next_with_review(done.path, done.labels_file)


@review.callback()
def _group() -> None:
    """Apply what was accepted and rejected in the report."""  # without a callback, a group of one command would be that command
