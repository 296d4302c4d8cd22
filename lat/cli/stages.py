"""The whole run, and a command for each of its stages."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lat.cli.command import RUN, STAGES, Command
from lat.cli.modes import next_step, with_modes
from lat.cli.options import ConfigFile, Force, Overrides, open_run
from lat.core.errors import InputError
from lat.core.remote import as_path
from lat.engine import announce

if TYPE_CHECKING:
    from lat.workspace.steps import Step
    from lat.workspace.workspace import Workspace


@with_modes
def check(
    config: ConfigFile,
    overrides: Overrides = None,
    manifest: Annotated[
        bool,
        typer.Option("--manifest", help="Write beside each labels file what its images are; see docs/scaling_out.md."),
    ] = False,
) -> None:
    """Check all images and annotation files of a run: one table per dataset, and every problem found."""
    from lat.commands.check import check_all
    from lat.config.load import load_config

    if not check_all(load_config(config, overrides or ()), write_manifests=manifest):
        raise typer.Exit(2)
    next_step("lat run", config, overrides)


@with_modes
def run(config: ConfigFile, overrides: Overrides = None, force: Force = False) -> None:
    """Run every stage that is not up to date, and print the results.

    It can be stopped at any time; the same command resumes it.
    """
    workspace = open_run(config, overrides)
    from lat.pipeline.run import run_stages
    from lat.workspace.time_estimate import expected_time

    if expected := expected_time(workspace):
        announce.say(expected)
    if not run_stages(workspace, force=force):
        announce.say("everything is up to date")
    _tell_results(workspace)
    _tell_report(workspace)
    if workspace.config.downstream.in_run:
        next_step(_export_command(workspace))
    else:
        next_step("lat train-downstream", config, overrides)


@with_modes
def train_upstream(
    config: ConfigFile,
    overrides: Overrides = None,
    dataset: Annotated[str | None, typer.Option(help="Only the detector of this dataset.")] = None,
    force: Force = False,
) -> None:
    """Train one upstream detector per dataset."""
    _run_stage("train-upstream", config, overrides, force, group=dataset)
    next_step("lat pseudo-label", config, overrides)


@with_modes
def pseudo_label(
    config: ConfigFile,
    overrides: Overrides = None,
    source: Annotated[str | None, typer.Option(help="Only the images of this dataset.")] = None,
    space: Annotated[str | None, typer.Option(help="Only in the label space of this dataset.")] = None,
    force: Force = False,
) -> None:
    """Let each upstream detector label the images of all other datasets, and print what was kept of each class."""
    from lat.cli.tables.pseudo_labels import print_kept_labels
    from lat.commands.kept_labels import read_kept_labels

    workspace = _run_stage("pseudo-label", config, overrides, force, group=source, member=space)
    if not announce.to_programs():
        print_kept_labels(read_kept_labels(workspace, source, space))
    next_step("lat train-lat", config, overrides)


@with_modes
def train_lat(config: ConfigFile, overrides: Overrides = None, force: Force = False) -> None:
    """Train the label-transfer model on ground truth and pseudo-labels."""
    _run_stage("train-lat", config, overrides, force)
    next_step("lat transfer", config, overrides)


@with_modes
def transfer(
    config: ConfigFile,
    overrides: Overrides = None,
    source: Annotated[str | None, typer.Option(help="Only the labels of this dataset.")] = None,
    target: Annotated[str | None, typer.Option(help="Only into the label space of this dataset.")] = None,
    force: Force = False,
) -> None:
    """Write each source's labels in the label space of each target."""
    _run_stage("transfer", config, overrides, force, group=source, member=target)
    next_step("lat evaluate", config, overrides)


@with_modes
def train_downstream(
    config: ConfigFile,
    overrides: Overrides = None,
    target: Annotated[str | None, typer.Option(help="Only the detector of this target.")] = None,
    force: Force = False,
) -> None:
    """Train a detector for each target on its ground truth and the transferred labels."""
    _run_stage("train-downstream", config, overrides, force, group=target)
    next_step("lat evaluate", config, overrides)


@with_modes
def relations(
    config: ConfigFile,
    overrides: Overrides = None,
    review: Annotated[
        bool, typer.Option("--review", help="Also write them as YAML, to be edited and set as relations.file.")
    ] = False,
) -> None:
    """Find which classes of the datasets are equal, contain one another, overlap or stand alone."""
    workspace = open_run(config, overrides)
    from lat.cli.tables.relations import print_relations
    from lat.commands.relate import relate, write_review

    matrices = relate(workspace)
    if announce.to_programs():
        for matrix in matrices:
            announce.event("result", table="relations", **matrix.to_dict())
    else:
        print_relations(matrices)
    if review:
        path = write_review(workspace, matrices)
        announce.say(f"edit {path}, then set relations.file to it")
        next_step("lat relations", config, [*(overrides or ()), f"relations.file={path}"])
    else:
        next_step("lat report", config, overrides)


@with_modes
def evaluate(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="The YAML file of the run.", show_default=False)
    ] = None,
    overrides: Overrides = None,
    truth: Annotated[Path | None, typer.Option(parser=as_path, help="With --labels: a COCO file of known labels.")] = None,
    labels: Annotated[
        Path | None, typer.Option(parser=as_path, help="With --truth: a COCO file of labels of the same images, to score.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="With --truth: also write the figures as JSON.")] = None,
    force: Force = False,
) -> None:
    """Score all labels of a run, or any labels file against any truth file."""
    if truth is not None and labels is not None and config is None:
        _evaluate_files(truth, labels, out)
        return
    if config is None or truth is not None or labels is not None:
        raise InputError("lat evaluate", "takes either CONFIG or both --truth and --labels", "give one of them")
    if out is not None:
        raise InputError("--out", "is given with CONFIG, which says where a run writes", "leave it out")
    _tell_results(_run_stage("evaluate", config, overrides, force))
    next_step("lat report", config, overrides)


def _evaluate_files(truth: Path, labels: Path, out: Path | None) -> None:
    """Print the figures of one labels file, or tell them to programs; `out` is a JSON file to write as well."""
    from lat.cli.tables.evaluation import print_figures
    from lat.commands.evaluate_files import SCORE_THRESHOLD, evaluate_files, write_figures

    figures = evaluate_files(truth, labels)
    if out is not None:
        write_figures(out, figures)
    if announce.to_programs():
        announce.event("result", table="files", **figures)
    else:
        counts = f"{figures['images']} images, {figures['boxes']} truth boxes"
        print_figures(f"{labels} at a score of {SCORE_THRESHOLD:g} against {truth} ({counts})", figures)


@with_modes
def report(config: ConfigFile, overrides: Overrides = None, force: Force = False) -> None:
    """Write the report, a page that opens offline, and `doubt/`, the labels ranked for review."""
    workspace = _run_stage("report", config, overrides, force)
    _tell_report(workspace)
    next_step(_export_command(workspace))


def _run_stage(
    stage: str, config: Path, overrides: list[str] | None, force: bool, group: str | None = None, member: str | None = None
) -> Workspace:
    """Run one stage, or only its steps of one group and member."""
    workspace = open_run(config, overrides)
    from lat.pipeline.plan import all_steps
    from lat.pipeline.run import run_stages

    for name in (group, member):
        if name is not None:
            workspace.data.index(name)
    is_chosen = _selector(group, member)
    if not any(map(is_chosen, all_steps(workspace, [stage]))):
        chosen = " in the space of ".join(name for name in (group, member) if name is not None)
        raise InputError(config, f"`lat {stage}` has nothing to do for {chosen}", "check `target`, or choose other datasets")
    if not run_stages(workspace, [stage], select=lambda step: is_chosen(step) or not step.group, force=force):
        announce.say(f"{stage}: up to date (--force does it again)")
    return workspace


def _selector(group: str | None, member: str | None) -> Callable[[Step], bool]:
    return lambda step: group in (None, step.dataset) and member in (None, step.member)


def _tell_results(workspace: Workspace) -> None:
    """Print the tables of a run, or tell programs the rows of `evaluation.json`."""
    from lat.cli.tables.evaluation import print_results
    from lat.commands.results import read_results, read_tables

    if not announce.to_programs():
        print_results(read_results(workspace))
        return
    for table, rows in read_tables(workspace).items():
        for row in rows:
            announce.event("result", table=table, **row)


def _tell_report(workspace: Workspace) -> None:
    from lat.workspace.run_folder import url_folder

    if announce.to_programs():
        announce.event("report", path=str(workspace.paths.report))
    else:
        at_url = url_folder(workspace.config.output_dir)
        print(f"report: {workspace.paths.report}{f' and {at_url.url}/report/index.html' if at_url else ''}")


def _export_command(workspace: Workspace) -> str:
    """The command that exports what the first target trains on."""
    target, root = workspace.config.target_names[0], workspace.paths.root
    words = ["lat export", shlex.quote(str(root)), "--to yolo", f"--out exports/{target}"]
    return " ".join([*words, *([f"--target {target}"] if len(workspace.config.target_names) > 1 else [])])


COMMANDS = {
    "check": Command(check, RUN, ("lat check mine.yaml", "lat check mine.yaml --manifest")),
    "run": Command(
        run,
        RUN,
        (
            "lat run mine.yaml",
            "lat run mine.yaml upstream.model.image_size=360 output_dir=runs/larger",
            "lat run mine.yaml --json-lines > run.jsonl",
        ),
        is_shared=True,
    ),
    "train-upstream": Command(
        train_upstream, STAGES, ("lat train-upstream mine.yaml", "lat train-upstream mine.yaml --dataset ours"), is_shared=True
    ),
    "pseudo-label": Command(
        pseudo_label,
        STAGES,
        ("lat pseudo-label mine.yaml", "lat pseudo-label mine.yaml --source theirs --space ours"),
        is_shared=True,
    ),
    "train-lat": Command(train_lat, STAGES, ("lat train-lat mine.yaml lat.training.steps=5000",), is_shared=True),
    "transfer": Command(
        transfer,
        STAGES,
        ("lat transfer mine.yaml", "lat transfer mine.yaml --source theirs --target ours --force"),
        is_shared=True,
    ),
    "train-downstream": Command(
        train_downstream,
        STAGES,
        (
            "lat train-downstream mine.yaml",
            "lat train-downstream mine.yaml downstream.model.detector=rtdetr downstream.name=rtdetr",
        ),
        is_shared=True,
    ),
    "evaluate": Command(
        evaluate, STAGES, ("lat evaluate mine.yaml", "lat evaluate --truth known.json --labels transferred.json"), is_shared=True
    ),
    "report": Command(report, STAGES, ("lat report mine.yaml",), is_shared=True),
    "relations": Command(relations, STAGES, ("lat relations mine.yaml relations.method=aut", "lat relations mine.yaml --review")),
}
