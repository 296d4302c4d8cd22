"""Doubt against truth: how well doubt ranks transferred labels for review, on finished runs with known truth.

    python benchmarks/doubt.py --runs FOLDER ... [--json FILE]
    python benchmarks/doubt.py --seeds 0 1 2 [--difficulty hard] [--out FOLDER] [--json FILE] [key=value ...]

FOLDER is the `output_dir` of a run of street scenes; with --seeds the runs are made first, as by `benchmarks/street_scenes.py`.

A ranking puts the least doubtful first. Its error-retention curve has, for each k from 1 to N, the error that is left if the
first k of N are kept as they are and a person corrects the rest: the sum of the errors of the first k, divided by N. The area is
the mean of these N values; a lower one is better. A random ranking has half of the mean error; the best ranking knows the errors.
What is printed is how much of the way from random to best a ranking goes, in percent (100 is perfect, 0 is no better than chance,
below 0 is worse), as mean and standard deviation over all transfers of all runs. Errors are

- of a box, `wrong`: 1 if no truth box of its class has an IoU of 0.5 or more with it (one to one), else 0;
- of a box, `wrong or off`: 1 less that IoU, and 1 for a wrong box;
- of an image: the number of wrong boxes and of truth boxes that none finds; its doubt is made of those of its boxes.

Boxes are those with a score of at least `evaluation.counted_threshold`; crowd boxes of the truth take no part.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markdown import print_rows, spread
from street_scenes import run_seed

from lat.config.load import load_config
from lat.evaluation.box_doubt import PARTS as ALL_PARTS
from lat.evaluation.box_doubt import WEIGHTS, Doubt, combined, image_doubt
from lat.evaluation.box_matching import match_boxes
from lat.evaluation.label_quality import IOU
from lat.labels.table import LabelTable
from lat.stages.doubt import pair_doubt
from lat.workspace.label_files import counted_labels, read_transferred, read_truth
from lat.workspace.workspace import Workspace

PARTS = tuple(part for part in ALL_PARTS if part != "no_counterpart")  # no class of the scenes is without a counterpart


@dataclass(frozen=True, eq=False)
class Judged:
    """One transfer: doubt, (A,) IoU of each box with the truth box that it finds, (I,) truth boxes missed, (I + 1,) offsets."""

    doubt: Doubt
    iou: np.ndarray
    missed: np.ndarray
    offsets: np.ndarray

    @property
    def image_errors(self) -> np.ndarray:
        """(I,) wrong boxes and missed truth boxes."""
        image = np.repeat(np.arange(len(self.missed)), np.diff(self.offsets))
        return np.bincount(image, self.iou == 0, minlength=len(self.missed)) + self.missed


def main() -> None:
    """Judge every ranking on every transfer of every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[])
    parser.add_argument("--difficulty", choices=["easy", "hard"], default="easy")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_street_scenes"))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_intermixed_args()
    runs = list(arguments.runs)
    for seed in arguments.seeds:
        folder = arguments.out / f"{arguments.difficulty}_{seed}"
        run_seed(folder, arguments.difficulty, seed, arguments.overrides)
        runs.append(folder / "run")
    if not runs:
        parser.error("give finished runs with --runs, or seeds to run with --seeds")
    judged = [one for run in runs for one in judge_run(run)]
    boxes, wrong = sum(len(one.iou) for one in judged), sum(int((one.iou == 0).sum()) for one in judged)
    print(f"{len(judged)} transfers, {boxes} boxes, {wrong} of them wrong\n")
    print_rows("doubt", table(judged), arguments.json)


def judge_run(folder: Path) -> list[Judged]:
    """Every transfer of a run that has truth."""
    workspace = Workspace(load_config(folder / "config.yaml", [f"output_dir={folder}"]))
    judged = []
    for source, target in workspace.transfers():
        truth = read_truth(workspace, source, target)
        if truth is not None:
            transferred = counted_labels(workspace, read_transferred(workspace, source, target))
            found = pair_doubt(workspace, source, target, transferred)
            judged.append(Judged(found, *judge(truth, transferred), transferred.offsets))
    return judged


def judge(truth: LabelTable, transferred: LabelTable) -> tuple[np.ndarray, np.ndarray]:
    """(A,) IoU of each transferred box with the truth box of its class that it finds, 0 for none; (I,) truth boxes not found."""
    ious, missed = [], []
    objects = truth.where(~truth.is_crowd)
    for i in range(len(truth)):
        wanted, found = objects.rows(i), transferred.rows(i)
        same = objects.labels[wanted][:, None] == transferred.labels[found]
        boxes = objects.boxes_xyxy[wanted], transferred.boxes_xyxy[found]
        matches = match_boxes(*boxes, IOU, allowed=same, second_scores=transferred.scores[found])
        iou = np.zeros(len(boxes[1]), np.float32)
        iou[matches.second] = matches.iou
        ious.append(iou)
        missed.append(len(matches.first_unmatched))
    return np.concatenate([np.zeros(0, np.float32), *ious]), np.array(missed)


def retention_area(errors: np.ndarray, doubts: np.ndarray) -> float:
    """Area under the error-retention curve of N errors (N,) ranked by N doubts (N,); see the module docstring."""
    kept = np.cumsum(errors[np.argsort(doubts, kind="stable")])
    return float(kept.mean() / len(errors))


def share_of_best(errors: np.ndarray, doubts: np.ndarray) -> float | None:
    """How far from random (0) to best (100) a ranking goes; None if all errors are equal."""
    chance, best = float(errors.mean()) / 2, retention_area(errors, errors)
    return None if chance <= best else 100 * (chance - retention_area(errors, doubts)) / (chance - best)


def table(judged: Sequence[Judged]) -> list[dict[str, str]]:
    """A row per ranking: each part alone, all parts with equal weights, and the default."""
    rankings = {"score alone": {"score": 1.0}, **{f"{part} alone": {part: 1.0} for part in PARTS if part != "score"}}
    rankings |= {"all parts alike": dict.fromkeys(PARTS, 1.0), "default": dict(WEIGHTS)}
    rows, by_score = [], [0.0]
    for name, weights in rankings.items():
        figures = _figures(judged, weights)
        by_score = figures["wrong or off"] if name == "score alone" else by_score
        better = sum(one > other for one, other in zip(figures["wrong or off"], by_score, strict=True))
        compared = "" if name == "score alone" else f"{better} of {len(by_score)}"
        spreads = {key: spread(values) if values else "–" for key, values in figures.items()}
        rows.append({"ranked by": name, **spreads, "wrong or off: better than score alone": compared})
    return rows


def _figures(judged: Sequence[Judged], weights: Mapping[str, float]) -> dict[str, list[float]]:
    """The quality of the ranking for each kind of error, one number per transfer with such errors."""
    figures: dict[str, list[float | None]] = {"wrong": [], "wrong or off": [], "images": []}
    for one in judged:
        boxes = combined(one.doubt.parts, weights)
        figures["wrong"].append(share_of_best((one.iou == 0).astype(float), boxes))
        figures["wrong or off"].append(share_of_best(1.0 - one.iou, boxes))
        figures["images"].append(share_of_best(one.image_errors.astype(float), image_doubt(boxes, one.offsets)))
    return {key: [value for value in values if value is not None] for key, values in figures.items()}


if __name__ == "__main__":
    main()
