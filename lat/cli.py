"""The `lat` command. Commands import what they run when they run, so that help and errors come at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lat import __version__
from lat.errors import InputError

if TYPE_CHECKING:
    from lat.stages.records import Step
    from lat.stages.workspace import Workspace

app = typer.Typer(
    name="lat",
    help="Move object-detection labels between datasets whose class lists and box conventions differ.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # click's, which newer versions of typer carry inside

_STOPPED = 130  # what newer versions of typer return on Ctrl-C instead of raising

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML file of the run.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace those of the file, as lat.attention=none."),
]
Force = Annotated[bool, typer.Option("--force", help="Do it although it is up to date.")]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command("street-scenes")
def street_scenes(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to draw into.", show_default=False)],
    difficulty: Annotated[str, typer.Option(help="easy or hard.")] = "easy",
    seed: Annotated[int, typer.Option(help="Seed of the drawing.")] = 0,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help="A dataset to draw (city, nu, way or bdd), once for each; all but bdd if none is given.", show_default=False
        ),
    ] = None,
) -> None:
    """Draw the embedded benchmark: street images, each dataset under its own annotation protocol, with truth in the others'."""
    from lat.stages.street_scenes import DEFAULT_DATASETS, draw_benchmark

    config = draw_benchmark(out, difficulty=difficulty, seed=seed, datasets=dataset or DEFAULT_DATASETS)
    print(f"drew {out}; next: lat run {config}")


@app.command()
def check(config: ConfigFile, overrides: Overrides = None) -> None:
    """Check all images and annotation files of a run: a table for each dataset, and every problem found."""
    from lat.stages.check import check_all

    if not check_all(_open(config, overrides).config):
        raise typer.Exit(2)


@app.command()
def run(config: ConfigFile, overrides: Overrides = None, force: Force = False) -> None:
    """Do every stage that is not up to date, and print the table.

    Stop it at any moment; the same command goes on from there.
    """
    from lat.pipeline import run_stages

    workspace = _open(config, overrides)
    if not run_stages(workspace, force=force):
        print("everything is up to date")
    _print_results(workspace)
    print(f"report: {workspace.report}")


@app.command("train-upstream")
def train_upstream(
    config: ConfigFile,
    overrides: Overrides = None,
    dataset: Annotated[str | None, typer.Option(help="Only the detector of this dataset.")] = None,
    force: Force = False,
) -> None:
    """Train one upstream detector for each dataset."""
    _run_stage("train-upstream", config, overrides, force, group=dataset)


@app.command("pseudo-label")
def pseudo_label(
    config: ConfigFile,
    overrides: Overrides = None,
    source: Annotated[str | None, typer.Option(help="Only the images of this dataset.")] = None,
    space: Annotated[str | None, typer.Option(help="Only in the label space of this dataset.")] = None,
    force: Force = False,
) -> None:
    """Let each upstream detector label the images of all the other datasets, and print what was kept of each class."""
    from lat.stages.filter_tables import print_pseudo_labels

    workspace = _run_stage("pseudo-label", config, overrides, force, group=source, member=space)
    print_pseudo_labels(workspace, source, space)


@app.command("train-lat")
def train_lat(config: ConfigFile, overrides: Overrides = None, force: Force = False) -> None:
    """Train the label-transfer model on ground truth and pseudo-labels."""
    _run_stage("train-lat", config, overrides, force)


@app.command()
def transfer(
    config: ConfigFile,
    overrides: Overrides = None,
    source: Annotated[str | None, typer.Option(help="Only the labels of this dataset.")] = None,
    target: Annotated[str | None, typer.Option(help="Only into the label space of this dataset.")] = None,
    force: Force = False,
) -> None:
    """Write each source's labels in the label space of each target."""
    _run_stage("transfer", config, overrides, force, group=source, member=target)


@app.command("train-downstream")
def train_downstream(
    config: ConfigFile,
    overrides: Overrides = None,
    target: Annotated[str | None, typer.Option(help="Only the detector of this target.")] = None,
    force: Force = False,
) -> None:
    """Train a detector of each target on its own and the transferred labels."""
    _run_stage("train-downstream", config, overrides, force, group=target)


@app.command()
def relations(
    config: ConfigFile,
    overrides: Overrides = None,
    review: Annotated[
        bool, typer.Option("--review", help="Also write them as YAML, to be edited and named as relations.file.")
    ] = False,
) -> None:
    """Find which classes of the datasets are equal, contain each other, overlap or stand alone."""
    from lat.stages.relation_tables import print_relations
    from lat.stages.relations import relate, write_review

    workspace = _open(config, overrides)
    matrices = relate(workspace)
    print_relations(matrices)
    if review:
        print(f"edit {write_review(workspace, matrices)}, then set relations.file to it")


@app.command()
def evaluate(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="The YAML file of the run.", show_default=False)
    ] = None,
    overrides: Overrides = None,
    truth: Annotated[Path | None, typer.Option(help="With --labels: a COCO file of known labels.")] = None,
    labels: Annotated[Path | None, typer.Option(help="With --truth: a COCO file of labels to score, of the same images.")] = None,
    force: Force = False,
) -> None:
    """Score all labels of a run, or any labels file against any truth file."""
    from lat.stages.evaluate import evaluate_files

    if truth is not None and labels is not None and config is None:
        print(json.dumps(evaluate_files(truth, labels), indent=2, allow_nan=False))
        return
    if config is None or truth is not None or labels is not None:
        raise InputError("lat evaluate", "takes either CONFIG or both --truth and --labels", "give one of them")
    _print_results(_run_stage("evaluate", config, overrides, force))


@app.command()
def report(config: ConfigFile, overrides: Overrides = None, force: Force = False) -> None:
    """Write the report: one HTML file that opens without a network."""
    workspace = _run_stage("report", config, overrides, force)
    print(f"report: {workspace.report}")


@app.command()
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


def _run_stage(
    stage: str, config: Path, overrides: list[str] | None, force: bool, group: str | None = None, member: str | None = None
) -> Workspace:
    """Do one stage, or the steps of it that `group` and `member` name."""
    from lat.pipeline import plan, run_stages

    workspace = _open(config, overrides)
    for name in (group, member):
        if name is not None:
            workspace.index(name)
    select = _selector(group, member)
    if not any(map(select, plan(workspace, [stage]))):
        chosen = " in the space of ".join(name for name in (group, member) if name is not None)
        raise InputError(config, f"`lat {stage}` has nothing to do for {chosen}", "check `target`, or choose other datasets")
    if not run_stages(workspace, [stage], select=select, force=force):
        print(f"{stage}: up to date (--force does it again)")
    return workspace


def _open(config: Path, overrides: list[str] | None) -> Workspace:
    from lat.config import load_config
    from lat.stages.workspace import Workspace

    return Workspace(load_config(config, overrides or ()))


def _selector(group: str | None, member: str | None) -> Callable[[Step], bool]:
    return lambda step: group in (None, step.dataset) and member in (None, step.member)


def _print_results(workspace: Workspace) -> None:
    from lat.stages.tables import print_evaluation

    print_evaluation(workspace)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit status 0 done, 2 wrong input (one line on stderr), 1 anything else."""
    try:
        status = app(args=arguments, standalone_mode=False)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except (typer.Abort, KeyboardInterrupt):
        status = _STOPPED
    except _UsageError as error:
        print(f"error: {error}; see `lat --help`", file=sys.stderr)
        status = 2
    if status == _STOPPED:
        print("stopped; the same command goes on from here", file=sys.stderr)
        status = 1
    sys.exit(status or 0)
