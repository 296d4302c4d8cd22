"""All commands, and how one is run."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

import typer

import lat.cli.ask as ask
import lat.cli.compare as compare
import lat.cli.conventions as conventions
import lat.cli.imports as imports
import lat.cli.labels as labels
import lat.cli.projects as projects
import lat.cli.prompting as prompting
import lat.cli.review as review
import lat.cli.shares as shares
import lat.cli.stages as stages
from lat import __version__
from lat.cli.command import LABELS, HelpfulCommand, HelpfulGroup, examples_of
from lat.core.errors import InputError, printable
from lat.core.files import is_of_files, refused
from lat.engine.interrupts import stopping_on_sigterm
from lat.engine.outcome import WorkerEndedError

_GROUPS = (projects, stages, prompting, conventions, ask, shares, compare, labels, imports)
COMMANDS = {name: command for group in _GROUPS for name, command in group.COMMANDS.items()}

app = typer.Typer(
    name="lat",
    cls=HelpfulGroup,
    help="Move object-detection labels between datasets whose class lists and box conventions differ.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
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
    elif _started_processes() > 1 and not _is_shared(context.invoked_subcommand):
        raise InputError(f"lat {context.invoked_subcommand}", "runs in one process", "start it without torchrun or srun")


def _is_shared(command: str) -> bool:
    return command in COMMANDS and COMMANDS[command].is_shared


for _name, _command in COMMANDS.items():
    _epilog = examples_of(_command.examples)
    app.command(_name, cls=HelpfulCommand, rich_help_panel=_command.group, epilog=_epilog)(_command.run)
app.add_typer(review.review, name="review", rich_help_panel=LABELS)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; the exit status is 0 if done, 2 for wrong input (one line on stderr), 1 for anything else.

    If torchrun or srun started several processes, one of them prints.
    """
    if _started_processes() > 1:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # or every process repeats the warnings of DDP
        from lat.engine.processes import together

        sys.exit(together(partial(_run, arguments)))
    with stopping_on_sigterm():
        status = _run(arguments, partial(print, file=sys.stderr))
    sys.exit(status)


def _started_processes() -> int:
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or 1)


def _run(arguments: list[str] | None, say: Callable[[str], None]) -> int:
    """Run the command line and say what is wrong; returns the exit status."""
    try:
        status = app(args=arguments, standalone_mode=False)
        _flush()
    except InputError as error:
        say(f"error: {error}")
        status = 2
    except BrokenPipeError:  # whoever read the output has enough
        _close_output()
        status = 1
    except (OSError, UnicodeEncodeError) as error:
        if not is_of_files(error):
            raise
        culprit = "the disk" if _can_print(sys.argv if arguments is None else arguments) else "standard output"
        _close_output()
        say(f"error: {refused(error, culprit)}")
        status = 2
    except (typer.Abort, KeyboardInterrupt):
        status = _STOPPED
    except WorkerEndedError as error:
        say(f"error: {error}")
        status = 1
    except _UsageError as error:
        say(printable(f"error: {error}; see `{_help_of(error)}`"))
        status = 2
    if status == _STOPPED:
        command = shlex.join(["lat", *(sys.argv[1:] if arguments is None else arguments)])
        say(f"stopped; the same command resumes from here: {command}")
        status = 1
    return status or 0


def _help_of(error: Exception) -> str:
    """The command whose help says what is right."""
    context: Any = getattr(error, "ctx", None)
    names = []
    while context is not None and context.parent is not None:
        names.append(context.info_name)
        context = context.parent
    return " ".join(["lat", *reversed(names), "--help"])


def _flush() -> None:
    """Write what was printed, so that a full disk is noticed while there is still somebody to tell."""
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def _can_print(arguments: Sequence[str]) -> bool:
    """True if it was not standard output that failed: another line can be written there, where programs do not read it."""
    try:
        print(end="" if "--json-lines" in arguments else "\n", flush=True)
    except (OSError, ValueError):
        return False
    return True


def _close_output() -> None:
    """Let what cannot be printed go nowhere when the process ends, without another error."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
