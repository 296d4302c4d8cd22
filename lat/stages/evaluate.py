"""Score labels against truth, and report what changed where there is none: `evaluation.json` and a table."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
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
from lat.workspace.jobs import do_shards_without_device
from lat.workspace.label_files import counted_labels, read_detections, read_transferred, read_truth
from lat.workspace.label_shards import work_folder
from lat.workspace.result_files import read_downstream_metrics
from lat.workspace.steps import Stage, Step
from lat.workspace.workspace import Workspace

RESULT = "label_transfer"  # the last round's transferred labels
AGREEMENT = "agreement"  # of the result with the human boxes: no method
TRANSFER_METHODS = ("class_names", "pseudo_label", "union", "union_averaged", RESULT)
DETECTOR_METHODS = ("pseudo_label", "union_averaged")  # scored with the detector of the last round too


def method_of(of_round: Workspace) -> str:
    """The method name of a round's transferred labels; the last round's are the result."""
    return RESULT if of_round.round == of_round.config.rounds.count else f"{RESULT}_round_{of_round.round}"


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
    job = do_shards_without_device(workspace, EvaluationShards, inputs=inputs)
    return workspace.processes.from_first(job.finish)


class EvaluationShards:
    """The figures of every direction: a shard for each method, where there is truth, and one for its agreement; see `ShardJob`.

    Args:
        workspace: the run.
        inputs: see `evaluate`.
    """

    is_preparation = True

    def __init__(self, workspace: Workspace, *, inputs: str) -> None:
        self.workspace, self.inputs, self.title = workspace, inputs, "evaluate"
        pairs = workspace.transfers()
        self.shards = [(*pair, method) for pair in pairs for method in (*_scored_methods(workspace, *pair), AGREEMENT)]
        self.sizes = [len(workspace.data.train_part(source)) for source, _, _ in self.shards]
        self.folder = work_folder(workspace.paths.root, workspace.paths.evaluation)
        self._last: _Direction | None = None

    def is_done(self, shard: int) -> bool:
        return self._read(shard).get("inputs") == self.inputs

    def run(self, shard: int, advance: Advance = uncounted) -> list[Path]:
        source, target, method = self.shards[shard]
        if self._last is None or (self._last.source, self._last.target) != (source, target):
            self._last = None  # its labels go before others are read
            self._last = _Direction(self.workspace, source, target)
        row = self._last.changes() if method == AGREEMENT else self._last.figures(method)
        write_atomically(self._path(shard), json.dumps({"inputs": self.inputs, "row": row}, allow_nan=False) + "\n")
        advance(self.sizes[shard])
        return [self._path(shard)]

    def finish(self) -> dict[str, Any]:
        """Write `evaluation.json` from all shards."""
        rows = [(method == AGREEMENT, self._read(shard)["row"]) for shard, (_, _, method) in enumerate(self.shards)]
        evaluation = {
            "transfer": [row for is_agreement, row in rows if not is_agreement],
            "agreement": [row for is_agreement, row in rows if is_agreement],
            "downstream": [read_downstream_metrics(path) for path in self.workspace.paths.found_downstream()],
        }
        write_atomically(self.workspace.paths.evaluation, json.dumps(evaluation, indent=2, allow_nan=False) + "\n")
        shutil.rmtree(self.folder, ignore_errors=True)
        return evaluation

    def _path(self, shard: int) -> Path:
        return self.folder / f"{'.'.join(self.shards[shard])}.json"

    def _read(self, shard: int) -> dict[str, Any]:
        """What a shard wrote; {} if it is missing or damaged."""
        try:
            content: dict[str, Any] = json.loads(self._path(shard).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content


class _Direction:
    """What is compared in one direction; each file is read when it is needed first."""

    def __init__(self, workspace: Workspace, source: str, target: str) -> None:
        self.workspace, self.source, self.target = workspace, source, target
        self.candidates = candidate_labels(workspace, source, target)

    @cached_property
    def truth(self) -> LabelTable:
        """Only where there is truth."""
        truth = read_truth(self.workspace, self.source, self.target)
        assert truth is not None
        return truth

    def figures(self, method: str) -> dict[str, Any]:
        """The row of a method."""
        found = label_figures(self.truth, self.candidates[method](), self.workspace.config.evaluation.counted_threshold)
        return {"source": self.source, "target": self.target, "method": method, **found}

    def changes(self) -> dict[str, Any]:
        """What transfer changed."""
        own, transferred = self.workspace.data.train_part(self.source).labels, self.candidates[RESULT]()
        assert isinstance(transferred, LabelTable)
        found = agreement(own, counted_labels(self.workspace, transferred))
        return {"source": self.source, "target": self.target, **found.to_dict()}


def _scored_methods(workspace: Workspace, source: str, target: str) -> tuple[str, ...]:
    """The methods whose labels of a direction are scored: none without truth."""
    has_truth = target in workspace.data.settings_of(source).truth
    return tuple(candidate_labels(workspace, source, target)) if has_truth else ()


@dataclass(frozen=True)
class LabelsInChunks:
    """The labels of each image of some tables, made a chunk of images at a time, anew whenever they are gone through."""

    make: Callable[..., Iterable[LabeledBoxes]]
    tables: tuple[LabelTable, ...]

    def __iter__(self) -> Iterator[LabeledBoxes]:
        for chunk in in_chunks(*self.tables):
            yield from self.make(*chunk)


def candidate_labels(workspace: Workspace, source: str, target: str) -> dict[str, Callable[[], LabelTable | LabelsInChunks]]:
    """Each method, and what reads or makes its labels for the training images of `source` in the space of `target`.

    Pseudo-labels have all their scores, as transferred labels do, below `pseudo_label.threshold` too.
    """
    space, own = workspace.data.space(target), workspace.data.train_part(source).labels

    @lru_cache(maxsize=1)
    def detections(number: int) -> LabelTable:
        return read_detections(workspace.at(number), source, target)

    @lru_cache(maxsize=1)
    def transferred(number: int) -> LabelTable:
        return read_transferred(workspace.at(number), source, target)

    def by_name(own: LabelTable) -> list[LabeledBoxes]:
        return labels_by_class_names(own, space)

    def union(own: LabelTable, pseudo: LabelTable) -> list[LabeledBoxes]:
        return union_labels(by_name(own), boxes_per_image(pseudo))

    def averaged(own: LabelTable, pseudo: LabelTable) -> list[LabeledBoxes]:
        return averaged_union_labels(by_name(own), boxes_per_image(pseudo))

    found: dict[str, Callable[[], LabelTable | LabelsInChunks]] = {
        "class_names": lambda: LabelsInChunks(by_name, (own,)),
        "pseudo_label": lambda: detections(0),
        "union": lambda: LabelsInChunks(union, (own, detections(0))),
        "union_averaged": lambda: LabelsInChunks(averaged, (own, detections(0))),
    }
    *earlier, last = workspace.rounds()
    found |= {method_of(of_round): partial(transferred, of_round.round) for of_round in earlier}
    if named := last_round_methods(workspace):
        found[named["pseudo_label"]] = lambda: detections(last.round)
        found[named["union_averaged"]] = lambda: LabelsInChunks(averaged, (own, detections(last.round)))
    return {**found, RESULT: partial(transferred, last.round)}


def mean_ap(rows: Sequence[dict[str, Any]], method: str, key: str = "ap") -> float | None:
    """Mean of a method's value over the directions where it is defined."""
    values = [row[key] for row in rows if row["method"] == method and row[key] is not None]
    return sum(values) / len(values) if values else None
