"""Score labels against truth, and report what changed where there is none: `evaluation.json` and a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lat.baselines.class_names import labels_by_class_names, union_labels
from lat.core.files import write_atomically
from lat.core.structures import LabeledBoxes
from lat.data.tensors import boxes_per_image
from lat.engine.progress import track
from lat.evaluation.label_figures import label_figures
from lat.evaluation.transfer_quality import agreement
from lat.labels.table import LabelTable
from lat.workspace.label_files import counted_labels, read_pseudo_labels, read_transferred, read_truth
from lat.workspace.steps import Stage, Step
from lat.workspace.workspace import Workspace

METHODS = ("class_names", "pseudo_label", "union", "label_transfer")


def method_of(of_round: Workspace) -> str:
    """The method name of a round's transferred labels; the last round's are the result."""
    return "label_transfer" if of_round.round == of_round.config.rounds.count else f"label_transfer_round_{of_round.round}"


def steps(workspace: Workspace) -> Iterator[Step]:
    """One step, for all labels and all trained downstream detectors."""
    settings, first = workspace.config.to_dict()["evaluation"], workspace.at(0)
    transferred = (each.paths.transferred(*pair) for each in workspace.rounds() for pair in workspace.transfers())
    inputs = (*first.paths.all_pseudo_labels(), *transferred, *workspace.paths.found_downstream())
    depends_on = [settings, list(map(list, workspace.transfers()))]
    yield Step("evaluate", "", "", depends_on, workspace.names, inputs, (workspace.paths.evaluation,), _run)


def _run(workspace: Workspace, *, due: Mapping[str, str]) -> None:
    workspace.processes.from_first(evaluate, workspace)


STAGE = Stage("evaluate", steps)


def evaluate(workspace: Workspace) -> dict[str, Any]:
    """Transfer AP and label quality of every method in every direction with truth, agreement figures in every direction, and
    the downstream AP of all trained detectors.

    `label_transfer` is the last round's; the pseudo-labels that it is compared with are those of round 0.

    Returns:
        What is written to `evaluation.json`.
    """
    rows: list[dict[str, Any]] = []
    agreements: list[dict[str, Any]] = []
    with track(len(workspace.transfers()), "evaluate", after_seconds=2) as progress:
        for source, target in workspace.transfers():
            transferred = read_transferred(workspace, source, target)
            labels = candidate_labels(workspace, source, transferred)
            truth = read_truth(workspace, source, target)
            if truth is not None:
                rows += [
                    {
                        "source": source,
                        "target": target,
                        "method": method,
                        **label_figures(truth, labels[method], workspace.config.evaluation.counted_threshold),
                    }
                    for method in labels
                ]
            own = workspace.data.train_part(source).labels
            changes = agreement(boxes_per_image(own), boxes_per_image(counted_labels(workspace, transferred)))
            agreements.append({"source": source, "target": target, **changes.to_dict()})
            progress.advance()
    downstream = [json.loads(path.read_text(encoding="utf-8")) for path in workspace.paths.found_downstream()]
    evaluation = {"transfer": rows, "agreement": agreements, "downstream": downstream}
    write_atomically(workspace.paths.evaluation, json.dumps(evaluation, indent=2, allow_nan=False) + "\n")
    return evaluation


def candidate_labels(workspace: Workspace, source: str, transferred: LabelTable) -> dict[str, list[LabeledBoxes]]:
    """The labels of each method for the training images of `source` in the space of its transferred labels."""
    space = transferred.space
    by_name = labels_by_class_names(workspace.data.train_part(source).labels, space)
    pseudo = boxes_per_image(read_pseudo_labels(workspace.at(0), source, space.name))
    earlier = workspace.rounds()[:-1]
    return {
        "class_names": by_name,
        "pseudo_label": pseudo,
        "union": union_labels(by_name, pseudo),
        **{method_of(of_round): boxes_per_image(read_transferred(of_round, source, space.name)) for of_round in earlier},
        "label_transfer": boxes_per_image(transferred),
    }


def mean_ap(rows: Sequence[dict[str, Any]], method: str, key: str = "ap") -> float | None:
    """Mean of a method's value over the directions where it is defined."""
    values = [row[key] for row in rows if row["method"] == method and row[key] is not None]
    return sum(values) / len(values) if values else None
