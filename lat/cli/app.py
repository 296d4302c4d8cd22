"""All commands, and running one of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

import lat.cli.labels as labels
import lat.cli.projects as projects
import lat.cli.review as review
import lat.cli.stages as stages
from lat import __version__
from lat.errors import InputError

COMMANDS: dict[str, Callable[..., Any]] = {
    "street-scenes": projects.street_scenes,
    "check": stages.check,
    "run": stages.run,
    "train-upstream": stages.train_upstream,
    "pseudo-label": stages.pseudo_label,
    "train-lat": stages.train_lat,
    "transfer": stages.transfer,
    "train-downstream": stages.train_downstream,
    "relations": stages.relations,
    "evaluate": stages.evaluate,
    "report": stages.report,
    "import": projects.import_,
    "export": labels.export,
}

IN_SEVERAL_PROCESSES = (
    "run",
    "train-upstream",
    "pseudo-label",
    "train-lat",
    "transfer",
    "train-downstream",
    "evaluate",
    "report",
)

app = typer.Typer(
    name="lat",
    help="Move object-detection labels between datasets whose class lists and box conventions differ.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # click's, which newer versions of typer carry inside

_STOPPED = 130  # what newer versions of typer return on Ctrl-C instead of raising


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())
    elif context.invoked_subcommand not in IN_SEVERAL_PROCESSES and _started_processes() > 1:
        raise InputError(f"lat {context.invoked_subcommand}", "works in one process", "start it without torchrun or srun")


for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(review.review, name="review")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit status 0 done, 2 wrong input (one line on stderr), 1 anything else.

    Of several processes that torchrun or srun started, one prints.
    """
    if _started_processes() > 1:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else each process says what DDP finds remarkable
        from lat.engine.processes import together

        sys.exit(together(partial(_run, arguments)))
    sys.exit(_run(arguments, partial(print, file=sys.stderr)))


def _started_processes() -> int:
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or 1)


def _run(arguments: list[str] | None, say: Callable[[str], None]) -> int:
    """Run the command line and tell what is wrong; returns the exit status."""
    try:
        status = app(args=arguments, standalone_mode=False)
    except InputError as error:
        say(f"error: {error}")
        status = 2
    except (typer.Abort, KeyboardInterrupt):
        status = _STOPPED
    except _UsageError as error:
        say(f"error: {error}; see `lat --help`")
        status = 2
    if status == _STOPPED:
        say("stopped; the same command goes on from here")
        status = 1
    return status or 0
