"""Score labels against truth, and report what changed where there is none: `evaluation.json` and a table."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lat.baselines.class_names import averaged_union_labels, labels_by_class_names, union_labels
from lat.core.files import write_atomically
from lat.core.structures import LabeledBoxes
from lat.data.tensors import boxes_per_image
from lat.engine.jobs import Advance, uncounted
from lat.evaluation.label_figures import label_figures
from lat.evaluation.transfer_quality import agreement
from lat.labels.chunks import in_chunks
from lat.labels.table import LabelTable
from lat.workspace.jobs import do_shards
from lat.workspace.label_files import counted_labels, read_detections, read_transferred, read_truth
from lat.workspace.label_shards import work_folder
from lat.workspace.result_files import read_downstream_metrics
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
    (inputs,) = due.values()
    evaluate(workspace, inputs)


STAGE = Stage("evaluate", steps)


def evaluate(workspace: Workspace, inputs: str = "") -> dict[str, Any]:
    """Transfer AP and label quality of every method in every direction with truth, agreement figures in every direction, and
    the downstream AP of all trained detectors. All processes of a run call this.

    `label_transfer` is the last round's; `pseudo_label`, `union` and `union_averaged` use the pseudo-labels of round 0, and the
    methods of `last_round_methods` those of the last round.

    Args:
        workspace: the run.
        inputs: hash of all that the figures depend on: what an interrupted evaluation found of the same is used.

    Returns:
        What is written to `evaluation.json`.
    """
    job = do_shards(workspace, EvaluationShards, inputs=inputs)
    return workspace.processes.from_first(job.finish)


class EvaluationShards:
    """The figures of every direction, a shard for each; see `ShardJob`.

    Args:
        workspace: the run.
        inputs: see `evaluate`.
    """

    is_preparation = True

    def __init__(self, workspace: Workspace, *, inputs: str) -> None:
        self.workspace, self.inputs, self.title = workspace, inputs, "evaluate"
        self.pairs = workspace.transfers()
        self.sizes = [_images_to_score(workspace, *pair) for pair in self.pairs]
        self.folder = work_folder(workspace.paths.root, workspace.paths.evaluation)

    def is_done(self, shard: int) -> bool:
        return self._read(shard).get("inputs") == self.inputs

    def run(self, shard: int, advance: Advance = uncounted) -> list[Path]:
        rows, changes = _evaluate_pair(self.workspace, *self.pairs[shard], advance)
        content = {"inputs": self.inputs, "transfer": rows, "agreement": changes}
        write_atomically(self._path(shard), json.dumps(content, allow_nan=False) + "\n")
        return [self._path(shard)]

    def finish(self) -> dict[str, Any]:
        """Write `evaluation.json` from all shards."""
        found = [self._read(shard) for shard in range(len(self.pairs))]
        evaluation = {
            "transfer": [row for one in found for row in one["transfer"]],
            "agreement": [one["agreement"] for one in found],
            "downstream": [read_downstream_metrics(path) for path in self.workspace.paths.found_downstream()],
        }
        write_atomically(self.workspace.paths.evaluation, json.dumps(evaluation, indent=2, allow_nan=False) + "\n")
        shutil.rmtree(self.folder, ignore_errors=True)
        return evaluation

    def _path(self, shard: int) -> Path:
        return self.folder / f"{'.'.join(self.pairs[shard])}.json"

    def _read(self, shard: int) -> dict[str, Any]:
        """What a shard wrote; {} if it is missing or damaged."""
        try:
            content: dict[str, Any] = json.loads(self._path(shard).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content


def _evaluate_pair(
    workspace: Workspace, source: str, target: str, advance: Advance
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row of figures per method, where there is truth, and what transfer changed."""
    own, transferred = workspace.data.train_part(source).labels, read_transferred(workspace, source, target)
    truth, rows = read_truth(workspace, source, target), []
    if truth is not None:
        for method, labels in candidate_labels(workspace, source, transferred):
            figures = label_figures(truth, labels, workspace.config.evaluation.counted_threshold)
            rows.append({"source": source, "target": target, "method": method, **figures})
            advance(len(own))
    changes = agreement(boxes_per_image(own), boxes_per_image(counted_labels(workspace, transferred)))
    advance(len(own))
    return rows, {"source": source, "target": target, **changes.to_dict()}


def _images_to_score(workspace: Workspace, source: str, target: str) -> int:
    """Number of images of a direction, counted once per method, where there is truth, and once for its agreement."""
    methods = len(TRANSFER_METHODS) + workspace.config.rounds.count + len(last_round_methods(workspace))
    has_truth = target in workspace.data.settings_of(source).truth
    return len(workspace.data.train_part(source)) * (1 + methods * has_truth)


@dataclass(frozen=True)
class LabelsInChunks:
    """The labels of each image of some tables, made a chunk of images at a time, anew whenever they are gone through."""

    make: Callable[..., Iterable[LabeledBoxes]]
    tables: tuple[LabelTable, ...]

    def __iter__(self) -> Iterator[LabeledBoxes]:
        for chunk in in_chunks(*self.tables):
            yield from self.make(*chunk)


def candidate_labels(
    workspace: Workspace, source: str, transferred: LabelTable
) -> Iterator[tuple[str, LabelTable | LabelsInChunks]]:
    """Each method and its labels for the training images of `source` in the space of its transferred labels.

    Pseudo-labels have all their scores, as transferred labels do, below `pseudo_label.threshold` too.
    """
    space, own = transferred.space, workspace.data.train_part(source).labels

    def by_name(own: LabelTable) -> list[LabeledBoxes]:
        return labels_by_class_names(own, space)

    def union(own: LabelTable, pseudo: LabelTable) -> list[LabeledBoxes]:
        return union_labels(by_name(own), boxes_per_image(pseudo))

    def averaged(own: LabelTable, pseudo: LabelTable) -> list[LabeledBoxes]:
        return averaged_union_labels(by_name(own), boxes_per_image(pseudo))

    first, *last = _compared_rounds(workspace)
    pseudo = read_detections(first, source, space.name)
    yield "class_names", LabelsInChunks(by_name, (own,))
    yield "pseudo_label", pseudo
    yield "union", LabelsInChunks(union, (own, pseudo))
    yield "union_averaged", LabelsInChunks(averaged, (own, pseudo))
    for of_round in workspace.rounds()[:-1]:
        yield method_of(of_round), read_transferred(of_round, source, space.name)
    for of_round in last:
        named, pseudo = last_round_methods(workspace), read_detections(of_round, source, space.name)
        yield named["pseudo_label"], pseudo
        yield named["union_averaged"], LabelsInChunks(averaged, (own, pseudo))
    yield "label_transfer", transferred


def mean_ap(rows: Sequence[dict[str, Any]], method: str, key: str = "ap") -> float | None:
    """Mean of a method's value over the directions where it is defined."""
    values = [row[key] for row in rows if row["method"] == method and row[key] is not None]
    return sum(values) / len(values) if values else None
