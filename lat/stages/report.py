"""Show all results of a run on one page: `report/index.html`, with its data and pictures beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lat import __version__
from lat.core.files import sha256_of_file, writing
from lat.engine.progress import track
from lat.labelling.answer_file import AnswerFile
from lat.report.build import Gallery, Progress, ReportContent, ReportSettings, write_report
from lat.report.page import content_hash
from lat.report.pictures import LONGEST_SIDE, relative_url
from lat.report.question_page import AskedQuestions
from lat.stages.doubt import DoubtShards
from lat.stages.shared.relation_files import read_relation_content
from lat.stages.transfer.convention_figures import convention_figures
from lat.stages.transfer.run_questions import RunQuestions
from lat.workspace.jobs import do_shards_without_device
from lat.workspace.label_files import counted_labels, read_pseudo_labels, read_transferred, read_truth
from lat.workspace.paths import require
from lat.workspace.result_files import read_evaluation, read_log, read_metrics
from lat.workspace.steps import Stage, Step
from lat.workspace.workspace import Workspace

MOST_QUESTIONS = 10


def steps(workspace: Workspace) -> Iterator[Step]:
    """One step, for everything that exists."""
    settings, paths, transfers = workspace.config.to_dict(), workspace.paths, workspace.transfers()
    inputs = (*paths.all_pseudo_labels(), *(paths.transferred(*pair) for pair in transfers), paths.evaluation)
    inputs += (paths.transfer_model, *map(paths.upstream_metrics, workspace.names), *paths.found_relations())
    outputs = (paths.report, *(paths.doubt(*pair) for pair in transfers))
    depends_on = [settings["evaluation"], {**asdict(ReportSettings()), "longest_side": LONGEST_SIDE}]
    yield Step("report", "", "", depends_on, workspace.names, inputs, outputs, _run)


def _run(workspace: Workspace, *, due: Mapping[str, str]) -> None:
    (inputs,) = due.values()
    report(workspace, inputs)


STAGE = Stage("report", steps)


def report(workspace: Workspace, inputs: str = "") -> None:
    """Write the report of a run from its files, and rank its labels by doubt. All processes of a run call this.

    Args:
        workspace: the run.
        inputs: hash of all that the report shows: what an interrupted report found of the same is used.
    """
    doubts = do_shards_without_device(workspace, DoubtShards, inputs=inputs)
    workspace.processes.from_first(_write, workspace, doubts)


def _write(workspace: Workspace, doubts: DoubtShards) -> None:
    """Write the report, given the doubt of all labels."""
    config, folder = workspace.config, workspace.paths.report.parent
    parts = {name: workspace.data.train_part(name).labels for name in workspace.names}
    content = ReportContent(
        title=f"Labels transferred to {', '.join(config.target_names)}",
        run={
            "datasets": ", ".join(workspace.names),
            "target": ", ".join(config.target_names),
            "upstream": f"{config.upstream.model.detector}, {config.upstream.model.backbone}",
            "features": config.lat.backbone.name,
            "attention": config.lat.fusion.attention,
            "labels shown": f"score {config.evaluation.counted_threshold:g} or more",
            "seed": str(config.seed),
            "lat": __version__,
        },
        spaces=[workspace.data.space(name) for name in workspace.names],
        counts={name: (len(labels), labels.num_boxes) for name, labels in parts.items()},
        evaluation=read_evaluation(require(workspace.paths.evaluation, "lat evaluate")),
        upstream={name: _metrics(workspace.paths.upstream_metrics(name)) for name in workspace.names},
        curves={name: rows for name, rows in _curves(workspace).items() if rows},
        relations=[read_relation_content(path) for path in workspace.paths.found_relations()],
        examples={name: workspace.data.train_part(name) for name in workspace.names},
        conventions=[convention_figures(workspace, *pair) for pair in workspace.transfers()],
        asked=_asked(workspace),
        galleries=(_gallery(workspace, doubts, source, target) for source, target in workspace.transfers()),
        labels_files={pair: relative_url(workspace.paths.transferred(*pair), folder) for pair in workspace.transfers()},
    )
    with writing(folder):
        write_report(folder, content, ReportSettings(), _pictures)
    doubts.finish()


def _asked(workspace: Workspace) -> AskedQuestions | None:
    """The questions that are open, and what was said before; None if there are none, or class shares are not estimated."""
    if not (workspace.config.transfer.prior.is_learnt and workspace.paths.class_shares.is_file()):
        return None
    run = RunQuestions(workspace)
    file = AnswerFile(Path(workspace.config.answers), run.spaces)
    questions = run.pick(file.answers, MOST_QUESTIONS)
    return AskedQuestions([one.to_dict() for one in questions], file.said, _name_of(workspace)) if questions else None


def _name_of(workspace: Workspace) -> str:
    """What tells a run from one of other datasets, wherever its folder lies: its label spaces."""
    spaces = {name: workspace.data.space(name).categories() for name in workspace.names}
    return content_hash(json.dumps(spaces))


@contextmanager
def _pictures(count: int) -> Iterator[Progress]:
    with track(count, "pictures of the report") as progress:
        yield progress.advance


def _curves(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    curves: dict[str, list[dict[str, Any]]] = {}
    for of_round in workspace.rounds():
        ending = f", round {of_round.round}" if of_round.round else ""
        curves |= {f"upstream {name}{ending}": _read_log(of_round.paths.upstream_model(name).parent) for name in of_round.renewed}
        curves[f"label transfer{ending}"] = _read_log(of_round.paths.transfer_model.parent)
    return curves | {f"downstream {path.parent.name}": _read_log(path.parent) for path in workspace.paths.found_downstream()}


def _gallery(workspace: Workspace, doubts: DoubtShards, source: str, target: str) -> Gallery:
    return Gallery(
        source=source,
        target=target,
        dataset=workspace.data.train_part(source),
        pseudo=read_pseudo_labels(workspace, source, target),
        transferred=counted_labels(workspace, read_transferred(workspace, source, target)),
        doubt=doubts.found(source, target),
        labels_sha256=sha256_of_file(workspace.paths.transferred(source, target)),
        truth=read_truth(workspace, source, target),
    )


def _metrics(path: Path) -> dict[str, Any]:
    return read_metrics(path) if path.is_file() else {}


def _read_log(folder: Path) -> list[dict[str, Any]]:
    path = folder / "log.jsonl"
    return read_log(path) if path.is_file() else []
