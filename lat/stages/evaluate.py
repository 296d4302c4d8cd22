"""Score labels against truth, and report what changed where there is none: `evaluation.json` and a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lat.baselines.class_names import averaged_union_labels, labels_by_class_names, union_labels
from lat.core.files import write_atomically
from lat.core.structures import LabeledBoxes
from lat.data.tensors import boxes_per_image
from lat.engine.progress import track
from lat.evaluation.label_figures import label_figures
from lat.evaluation.transfer_quality import agreement
from lat.labels.table import LabelTable
from lat.workspace.label_files import counted_labels, read_detections, read_transferred, read_truth
from lat.workspace.steps import Stage, Step
from lat.workspace.workspace import Workspace

TRANSFER_METHODS = ("class_names", "pseudo_label", "union", "union_averaged", "label_transfer")
DETECTOR_METHODS = ("pseudo_label", "union_averaged")  # scored with the detector of the last round too


def method_of(of_round: Workspace) -> str:
    """The method name of a round's transferred labels; the last round's are the result."""
    return "label_transfer" if of_round.round == of_round.config.rounds.count else f"label_transfer_round_{of_round.round}"


def last_round_methods(workspace: Workspace) -> dict[str, str]:
    """The names of `DETECTOR_METHODS` with the pseudo-labels of the last round; none without further rounds."""
    count = workspace.config.rounds.count
    return {method: f"{method}_round_{count}" for method in DETECTOR_METHODS} if count else {}


def steps(workspace: Workspace) -> Iterator[Step]:
    """One step, for all labels and all trained downstream detectors."""
    settings = workspace.config.to_dict()["evaluation"]
    pseudo = (each.paths.detections(*pair) for each in _compared_rounds(workspace) for pair in workspace.transfers())
    transferred = (each.paths.transferred(*pair) for each in workspace.rounds() for pair in workspace.transfers())
    inputs = (*pseudo, *transferred, *workspace.paths.found_downstream())
    depends_on = [settings, list(map(list, workspace.transfers())), list(TRANSFER_METHODS)]
    yield Step("evaluate", "", "", depends_on, workspace.names, inputs, (workspace.paths.evaluation,), _run)


def _compared_rounds(workspace: Workspace) -> list[Workspace]:
    """The rounds whose pseudo-labels are scored: the first, and the last if it is another."""
    return [workspace.at(number) for number in dict.fromkeys((0, workspace.config.rounds.count))]


def _run(workspace: Workspace, *, due: Mapping[str, str]) -> None:
    workspace.processes.from_first(evaluate, workspace)


STAGE = Stage("evaluate", steps)


def evaluate(workspace: Workspace) -> dict[str, Any]:
    """Transfer AP and label quality of every method in every direction with truth, agreement figures in every direction, and
    the downstream AP of all trained detectors.

    `label_transfer` is the last round's; `pseudo_label`, `union` and `union_averaged` use the pseudo-labels of round 0, and the
    methods of `last_round_methods` those of the last round.

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
    """The labels of each method for the training images of `source` in the space of its transferred labels.

    Pseudo-labels have all their scores, as transferred labels do, below `pseudo_label.threshold` too.
    """
    space = transferred.space
    by_name = labels_by_class_names(workspace.data.train_part(source).labels, space)
    first, *last = (boxes_per_image(read_detections(of_round, source, space.name)) for of_round in _compared_rounds(workspace))
    named, earlier = last_round_methods(workspace), workspace.rounds()[:-1]
    labels = {
        "class_names": by_name,
        "pseudo_label": first,
        "union": union_labels(by_name, first),
        "union_averaged": averaged_union_labels(by_name, first),
        **{method_of(of_round): boxes_per_image(read_transferred(of_round, source, space.name)) for of_round in earlier},
    }
    for pseudo in last:
        labels[named["pseudo_label"]] = pseudo
        labels[named["union_averaged"]] = averaged_union_labels(by_name, pseudo)
    return {**labels, "label_transfer": boxes_per_image(transferred)}


def mean_ap(rows: Sequence[dict[str, Any]], method: str, key: str = "ap") -> float | None:
    """Mean of a method's value over the directions where it is defined."""
    values = [row[key] for row in rows if row["method"] == method and row[key] is not None]
    return sum(values) / len(values) if values else None
