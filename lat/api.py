"""The Python interface: `lat.run`, `lat.transfer`, `lat.check`, `lat.compare`, `lat.conventions`, `lat.questions`, `lat.export`,
`lat.import_` and `lat.load_labels`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lat.config.load import Config, config_from, load_config
from lat.core.errors import InputError
from lat.engine.announce import speaking
from lat.labels.arrays import ImageLabels, Labels
from lat.labels.coco.read import read_labels
from lat.pipeline.plan import ROUND
from lat.pipeline.run import run_stages
from lat.workspace.result_files import read_evaluation
from lat.workspace.workspace import Workspace

if TYPE_CHECKING:
    from lat.commands.export import ExportSummary

__all__ = ["Check", "ImageLabels", "Labels", "Run", "check", "compare", "conventions", "export", "import_", "load_labels"]
__all__ += ["questions", "run", "transfer"]

ConfigLike = str | os.PathLike[str] | Mapping[str, Any] | Config
Overrides = Mapping[str, Any] | Sequence[str]


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
        output_dir: the folder with all files of the run; of a run at a URL, its copy on this machine.
        evaluation: the content of `evaluation.json`: rows by table (`transfer`, `agreement`, `downstream`).
        report: the HTML page.
        transferred: the labels file of each (source, target).
    """

    output_dir: Path
    evaluation: dict[str, list[dict[str, Any]]]
    report: Path
    transferred: dict[tuple[str, str], Path]

    def labels(self, source: str, target: str) -> Labels:
        """The labels of the images of `source` in the label space of `target`."""
        return load_labels(self.transferred[source, target])


def run(config: ConfigLike, overrides: Overrides = (), *, force: bool = False, quiet: bool = False) -> Run:
    """Run every stage that is not up to date, as `lat run` does.

    Args:
        config: a YAML file, or its content.
        overrides: settings that replace those of the configuration, as `{"lat.training.steps": 500}` or
            `["lat.training.steps=500"]`.
        force: run all stages, up to date or not.
        quiet: print nothing and show no progress.

    Raises:
        InputError: if the configuration or a file is wrong.
    """
    workspace = Workspace(_config(config, overrides))
    with speaking(quiet=quiet):
        run_stages(workspace, force=force)
    evaluation = read_evaluation(workspace.paths.evaluation)
    transferred = {pair: workspace.paths.transferred(*pair) for pair in workspace.transfers()}
    return Run(workspace.paths.root, evaluation, workspace.paths.report, transferred)


def transfer(
    config: ConfigLike, overrides: Overrides = (), *, force: bool = False, quiet: bool = False
) -> dict[tuple[str, str], Labels]:
    """Transfer labels: run the stages up to the transfer that are not up to date; return the labels of each (source, target).

    Takes the arguments of `run` and raises the same errors; evaluates nothing, trains no downstream detector, writes no report.
    """
    workspace = Workspace(_config(config, overrides))
    with speaking(quiet=quiet):
        run_stages(workspace, ROUND, force=force)
    return {pair: load_labels(workspace.paths.transferred(*pair), pair[1]) for pair in workspace.transfers()}


@dataclass(frozen=True)
class Check:
    """What `lat.check` found; true if there are no problems.

    Attributes:
        problems: what must be corrected, one line each.
        notes: what is worth knowing, one line each.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.problems


def check(config: ConfigLike, overrides: Overrides = (), *, quiet: bool = True) -> Check:
    """Look for problems in all images and annotation files of a run, as `lat check` does.

    Args:
        config, overrides: as for `run`.
        quiet: show no progress.

    Raises:
        InputError: if the configuration is wrong; what is wrong with files is in the result.
    """
    from lat.commands.check import find_problems

    with speaking(quiet=quiet):
        found = find_problems(_config(config, overrides))
    return Check(found.problems, found.notes)


def compare(first: str | os.PathLike[str], second: str | os.PathLike[str], *, min_score: float = 0.0) -> dict[str, Any]:
    """Compare two labels files of the same images, whatever their class lists, as `lat compare` does.

    Args:
        first, second: the files; figures call them A and B.
        min_score: boxes with a lower score are left out.

    Returns:
        What `compare.json` has: among others `classes`, what each class is in the other file, and `conventions`, how boxes lie.

    Raises:
        InputError: if a file is wrong, or they share no image.
    """
    from lat.commands.compare import compare_files

    with speaking(quiet=True):
        return compare_files(Path(first), Path(second), min_score).figures


def conventions(config: ConfigLike, overrides: Overrides = ()) -> list[dict[str, Any]]:
    """How the protocols of a run's datasets differ, for each source and target, as `lat conventions` tells.

    Takes the arguments of `run`; reads what the run has written, and trains nothing.

    Returns:
        What `conventions.json` has: `sentences` say in words what `conventions` and `classes` have as figures.

    Raises:
        InputError: if the configuration is wrong, or the run has no pseudo-labels yet.
    """
    from lat.commands.find_conventions import find_conventions

    with speaking(quiet=True):
        return find_conventions(Workspace(_config(config, overrides)))


def questions(config: ConfigLike, overrides: Overrides = (), *, most: int = 5) -> list[dict[str, Any]]:
    """The few questions about classes whose answers would change most, as `lat ask` asks them.

    Takes the arguments of `run`; what the setting `answers` names is not asked again.

    Returns:
        At most so many, those with the largest expected gain first: `source`, `target`, `class`, its `choices`, and the `gain`.

    Raises:
        InputError: if the configuration is wrong, or the run has not transferred labels yet.
    """
    from lat.commands.ask import AnswerFile, RunQuestions

    with speaking(quiet=True):
        asked = RunQuestions(Workspace(_config(config, overrides)))
        answers = AnswerFile(Path(asked.workspace.config.answers), asked.spaces)
        return [one.to_dict() for one in asked.pick(answers.answers, most)]


def export(
    labels: str | os.PathLike[str],
    to: str,
    out: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    **options: Any,
) -> ExportSummary:
    """Write labels with their images in the format of another tool, as `lat export` does.

    Args:
        labels: a labels file; or a run, by its YAML file or folder, for all that a target trains on.
        to: the format: `yolo`, `coco`, `voc`, `huggingface`, and for a labels file also `cvat`, `label-studio` and `fiftyone`.
        out: the folder to create.
        images: the folder of the images of a labels file.
        options: `min_score` and `copy`; for a run `target`; for a labels file what `ExportOptions` has.

    Returns:
        How many `images` and `boxes` were written, and in `losses` what the format cannot hold.

    Raises:
        InputError: as the command does.
    """
    from lat.commands.export import ExportOptions, export_files
    from lat.commands.export_run import export_run

    place = Path(labels)
    with speaking(quiet=True):
        if images is None:
            return export_run(Workspace(load_config(place)), to, Path(out), **options)
        return export_files(place, Path(images), to, Path(out), ExportOptions(**options))


def import_(
    form: str,
    root: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    splits: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    labels: str | os.PathLike[str] | None = None,
) -> tuple[Path, ...]:
    """Convert a dataset to COCO JSON, or bring back labels that were corrected in another tool, as `lat import` does.

    Args:
        form: the format, such as `yolo`; with `labels`, the tool: `cvat`, `label-studio` or `fiftyone`.
        root: the folder of the dataset; or what the tool has exported.
        out: the folder to write to; with `labels` the file, by default `NAME.reviewed.json` beside them.
        splits: which to import; by default the training split.
        settings: those of the format.
        labels: the labels file that was corrected.

    Returns:
        The labels files that were written.

    Raises:
        InputError: as the command does.
    """
    from lat.commands.import_corrections import import_corrections, reviewed_path
    from lat.commands.import_dataset import import_dataset

    with speaking(quiet=True):
        if labels is not None:
            import_corrections(form, Path(root), Path(labels), None if out is None else Path(out))
            return (reviewed_path(Path(labels)) if out is None else Path(out),)
        if out is None:
            raise InputError("out", "is missing", "name the folder to write to")
        chosen = [f"{key}={value}" for key, value in (settings or {}).items()]
        found = import_dataset(form, Path(root), Path(out), splits=splits, settings=chosen)
    return tuple(summary.labels for summary in found)


def load_labels(path: str | os.PathLike[str], name: str = "") -> Labels:
    """Read a COCO labels file of any origin.

    Args:
        path: the file.
        name: name of its label space; by default that of the file.

    Raises:
        InputError: if the file is missing or wrong; the message says what is wrong, and where.
    """
    path = Path(path)
    return Labels(read_labels(path, name or path.stem))


def _config(config: ConfigLike, overrides: Overrides) -> Config:
    if isinstance(overrides, Mapping):
        overrides = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    if isinstance(config, Config):
        if overrides:
            raise InputError(
                "overrides", "do not apply to a Config object, which is already resolved", "pass them when loading it"
            )
        return config
    if isinstance(config, Mapping):
        return config_from(config, overrides)
    return load_config(Path(config), overrides)
