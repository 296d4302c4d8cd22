"""All commands, and how one is run."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple

import typer

import lat.cli.imports as imports
import lat.cli.labels as labels
import lat.cli.projects as projects
import lat.cli.review as review
import lat.cli.stages as stages
from lat import __version__
from lat.core.errors import InputError


class Command(NamedTuple):
    """One command of `lat`.

    Attributes:
        run: what it does; its docstring is the help.
        group: the title under which the help lists it.
        examples: command lines that the help shows.
    """

    run: Callable[..., Any]
    group: str
    examples: tuple[str, ...]


BEGIN, RUN, STAGES, LABELS = "Getting started", "A whole run", "Single stages of a run", "Labels files"
COMMANDS = {
    "init": Command(
        projects.init,
        BEGIN,
        (
            "lat init",
            "lat init --dataset ours=data/ours/images,data/ours/train.json,data/ours/val.json "
            "--dataset theirs=data/theirs/images,data/theirs/annotations.json --target ours --out mine.yaml",
        ),
    ),
    "street-scenes": Command(
        projects.street_scenes,
        BEGIN,
        ("lat street-scenes runs/scenes", "lat street-scenes runs/hard --difficulty hard --dataset city --dataset nu"),
    ),
    "doctor": Command(projects.doctor, BEGIN, ("lat doctor", "lat doctor --json")),
    "schema": Command(projects.schema, BEGIN, ("lat schema > lat.schema.json",)),
    "check": Command(stages.check, RUN, ("lat check mine.yaml",)),
    "run": Command(
        stages.run,
        RUN,
        (
            "lat run mine.yaml",
            "lat run mine.yaml upstream.model.image_size=360 output_dir=runs/larger",
            "lat run mine.yaml --json-lines > run.jsonl",
        ),
    ),
    "train-upstream": Command(
        stages.train_upstream, STAGES, ("lat train-upstream mine.yaml", "lat train-upstream mine.yaml --dataset ours")
    ),
    "pseudo-label": Command(
        stages.pseudo_label, STAGES, ("lat pseudo-label mine.yaml", "lat pseudo-label mine.yaml --source theirs --space ours")
    ),
    "train-lat": Command(stages.train_lat, STAGES, ("lat train-lat mine.yaml lat.training.steps=5000",)),
    "transfer": Command(
        stages.transfer, STAGES, ("lat transfer mine.yaml", "lat transfer mine.yaml --source theirs --target ours --force")
    ),
    "train-downstream": Command(
        stages.train_downstream,
        STAGES,
        (
            "lat train-downstream mine.yaml",
            "lat train-downstream mine.yaml downstream.model.detector=rtdetr downstream.name=rtdetr",
        ),
    ),
    "evaluate": Command(
        stages.evaluate, STAGES, ("lat evaluate mine.yaml", "lat evaluate --truth known.json --labels transferred.json")
    ),
    "report": Command(stages.report, STAGES, ("lat report mine.yaml",)),
    "relations": Command(
        stages.relations, STAGES, ("lat relations mine.yaml relations.method=aut", "lat relations mine.yaml --review")
    ),
    "export": Command(
        labels.export,
        LABELS,
        (
            "lat export runs/mine/transferred/theirs.ours.json --to yolo --images data/theirs/images --out exports/yolo",
            "lat export data/ours/train.json --to voc --images data/ours/images --out exports/voc --val data/ours/val.json",
            "lat export runs/mine/transferred/theirs.ours.json --to fiftyone --images data/theirs/images --out exports/fiftyone "
            "--with ground_truth=data/theirs/annotations.json --with pseudo=runs/mine/pseudo_labels/theirs.ours.json",
        ),
    ),
    "import": Command(
        imports.import_,
        LABELS,
        (
            "lat import cityscapes --root data/cityscapes --out data/imported/cityscapes --split train --split val",
            "lat import cvat --root task.zip --labels runs/mine/transferred/theirs.ours.json --out theirs.ours.corrected.json",
            "lat import label-studio --root project.json --labels theirs.ours.json --out corrected.json min_score=0.3",
            "lat import fiftyone --root back --labels theirs.ours.json --out corrected.json field=transferred",
        ),
    ),
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
    elif context.invoked_subcommand not in IN_SEVERAL_PROCESSES and _started_processes() > 1:
        raise InputError(f"lat {context.invoked_subcommand}", "runs in one process", "start it without torchrun or srun")


for _name, _command in COMMANDS.items():
    _examples = "\n\n".join(("Examples:", *(f"  {line}" for line in _command.examples)))
    app.command(_name, rich_help_panel=_command.group, epilog=_examples)(_command.run)
app.add_typer(review.review, name="review", rich_help_panel=LABELS)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; the exit status is 0 if done, 2 for wrong input (one line on stderr), 1 for anything else.

    If torchrun or srun started several processes, one of them prints.
    """
    if _started_processes() > 1:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # or every process repeats the warnings of DDP
        from lat.engine.processes import together

        sys.exit(together(partial(_run, arguments)))
    sys.exit(_run(arguments, partial(print, file=sys.stderr)))


def _started_processes() -> int:
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or 1)


def _run(arguments: list[str] | None, say: Callable[[str], None]) -> int:
    """Run the command line and say what is wrong; returns the exit status."""
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
        command = shlex.join(["lat", *(sys.argv[1:] if arguments is None else arguments)])
        say(f"stopped; the same command resumes from here: {command}")
        status = 1
    return status or 0
