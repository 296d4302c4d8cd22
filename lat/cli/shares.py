"""A share of a run's work, for job arrays."""

from __future__ import annotations

from typing import Annotated

import typer

from lat.cli.command import STAGES, Command
from lat.cli.modes import next_step, with_modes
from lat.cli.options import ConfigFile, Overrides
from lat.engine import announce


@with_modes
def work(
    config: ConfigFile,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Which share: I from 0 to N - 1.", show_default=False)],
    overrides: Overrides = None,
) -> None:
    """Do one of N shares of the images that wait to be labelled, without the other shares; for job arrays.

    The command of the stage, or `lat run`, joins what the shares have written.
    """
    from lat.config.load import load_config

    loaded = load_config(config, overrides or ())
    from lat.pipeline.work import share_of_run, work

    workspace = share_of_run(loaded, shard)
    if not work(workspace, announce.say):
        announce.say("no images wait to be labelled")
    next_step("lat run", config, overrides)


COMMANDS = {
    "work": Command(
        work,
        STAGES,
        ("lat work mine.yaml --shard 3/16", "lat work mine.yaml --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"),
    ),
}
