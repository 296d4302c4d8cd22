"""How the protocols of a run differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lat.cli.command import STAGES, Command
from lat.cli.modes import next_step, tell_page, with_modes
from lat.cli.options import ConfigFile, Overrides, open_run
from lat.engine import announce


@with_modes
def conventions(
    config: ConfigFile,
    overrides: Overrides = None,
    source: Annotated[str | None, typer.Option(help="Only the boxes of this dataset.")] = None,
    target: Annotated[str | None, typer.Option(help="Only compared with this dataset.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write conventions.json there, and the page index.html.", show_default=False),
    ] = None,
) -> None:
    """Tell how the protocols of a run's datasets differ: sides that move, boxes that scatter, hidden parts, class shares.

    It reads what `lat pseudo-label` and `lat transfer` have written, and trains nothing.
    """
    workspace = open_run(config, overrides)
    from lat.cli.tables.protocols import print_conventions
    from lat.commands.find_conventions import FIGURES, PAGE, find_conventions, write_conventions
    from lat.commands.output_folder import check_output_folder

    if out is not None:
        check_output_folder(out, FIGURES, "an earlier call")
    found = find_conventions(workspace, source, target)
    if out is not None:
        write_conventions(workspace, found, out)
    if announce.to_programs():
        for one in found:
            announce.event("result", table="conventions", **one)
    else:
        print_conventions(found)
    if out is not None:
        tell_page(out / PAGE)
    next_step("lat report", config, overrides)


COMMANDS = {
    "conventions": Command(
        conventions,
        STAGES,
        (
            "lat conventions mine.yaml",
            "lat conventions runs/mine --source theirs --target ours",
            "lat conventions runs/mine --out conventions",
            "lat conventions runs/mine --json-lines > conventions.jsonl",
        ),
    ),
}
