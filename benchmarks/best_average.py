"""How much a human box could add to a detection at most: averages whose weights and shifts are fitted to the truth itself.

    python benchmarks/best_average.py RUN [RUN ...] [--json FILE]

RUN is the folder of a finished run with truth, such as those of benchmarks/street_scenes.py; give those of several seeds. Each
detection of the last round that lies on an object of its class is averaged with the human box of that object, whatever the class
that the person gave. For each pair of classes and each side, weight and shift are those with the least squared error against the
truth, which no method knows. The last column also has all objects that detections miss, with their true boxes. Scores stay.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch
from markdown import Row, print_rows, spread
from torch import Tensor
from torchvision.ops import box_iou

from lat.config.load import load_config
from lat.core.structures import LabeledBoxes
from lat.data.tensors import boxes_per_image
from lat.evaluation.box_matching import match_boxes
from lat.evaluation.detection_ap import detection_ap
from lat.labels.table import LabelTable
from lat.workspace.label_files import read_detections, read_transferred, read_truth
from lat.workspace.workspace import Workspace

SAME_OBJECT_IOU = 0.5
FEWEST = 8  # pairs of two classes that have weights of their own
MISSED_SCORE = 0.5

Pairs = dict[tuple[int, int], list[tuple[int, int, Tensor, Tensor, Tensor]]]
"""For a source class and a target class: image, detection, and the boxes (4,) of truth, detection and person."""


def main() -> None:
    """Print a row per direction and one for their mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    found: dict[str, list[list[float]]] = defaultdict(list)
    for run in options.runs:
        rows = dict(directions(Workspace(load_config(run / "config.yaml", [f"output_dir={run.resolve()}"]))))
        rows["mean"] = [mean(column) for column in zip(*rows.values(), strict=True)]
        for name, row in rows.items():
            found[name].append(row)
    print_rows("best_average", [summary(name, rows) for name, rows in found.items()], options.json)


def summary(name: str, rows: list[list[float]]) -> Row:
    """Means and spreads over runs."""
    titles = ("detections", "label transfer", "best average", "best average, nothing missed")
    return {
        "source -> target": name,
        **{title: spread(column) for title, column in zip(titles, zip(*rows, strict=True), strict=True)},
    }


def directions(workspace: Workspace) -> Iterator[tuple[str, list[float]]]:
    """AP in each direction: of detections, of transferred labels, and of the best averages without and with all objects."""
    last = workspace.rounds()[-1]
    for source, target in workspace.transfers():
        truth = read_truth(workspace, source, target)
        if truth is None:
            continue
        detected = read_detections(last, source, target)
        true, own, found = (boxes_per_image(one) for one in (truth, workspace.data.train_part(source).labels, detected))
        pairs, missed = matched(true, own, found)
        best = averaged(found, pairs)
        whole = [LabeledBoxes.joined([boxes, more]) for boxes, more in zip(best, missed, strict=True)]
        labels: list[LabelTable | list[LabeledBoxes]] = [detected, read_transferred(last, source, target), best, whole]
        yield f"{source} -> {target}", [detection_ap(truth, one).ap or 0.0 for one in labels]


def matched(
    true: Sequence[LabeledBoxes], own: Sequence[LabeledBoxes], found: Sequence[LabeledBoxes]
) -> tuple[Pairs, list[LabeledBoxes]]:
    """Detections with the human boxes of their objects, and for each image the objects that no detection is of."""
    pairs: Pairs = defaultdict(list)
    missed = []
    for image, (objects, human, detections) in enumerate(zip(true, own, found, strict=True)):
        allowed = (objects.labels[:, None] == detections.labels).numpy()
        boxes = objects.boxes_xyxy.numpy(), detections.boxes_xyxy.numpy()
        matches = match_boxes(*boxes, SAME_OBJECT_IOU, allowed=allowed, second_scores=detections.scores.numpy())
        on_human = box_iou(objects.boxes_xyxy, human.boxes_xyxy)
        for one, row in zip(matches.first.tolist(), matches.second.tolist(), strict=True):
            if len(human) and on_human[one].max() >= SAME_OBJECT_IOU:
                person = int(on_human[one].argmax())
                drawn = objects.boxes_xyxy[one], detections.boxes_xyxy[row], human.boxes_xyxy[person]
                pairs[int(human.labels[person]), int(objects.labels[one])].append((image, row, *drawn))
        scores = torch.full((len(objects),), MISSED_SCORE)
        missed.append(replace(objects, scores=scores, class_scores=None)[torch.from_numpy(matches.first_unmatched)])
    return pairs, missed


def averaged(found: Sequence[LabeledBoxes], pairs: Pairs) -> list[LabeledBoxes]:
    """Detections with the boxes that weights and shifts fitted to the truth make of them."""
    boxes = [one.boxes_xyxy.clone() for one in found]
    for of_classes in pairs.values():
        if len(of_classes) < FEWEST:
            continue
        true, detected, human = (torch.stack(column) for column in list(zip(*of_classes, strict=True))[2:])
        sides = (true[:, 2:] - true[:, :2]).repeat(1, 2)
        apart, wanted = (human - detected) / sides, (true - detected) / sides
        for side in range(4):
            known = torch.stack([apart[:, side], torch.ones(len(apart))], dim=1)
            detected[:, side] += (known @ torch.linalg.lstsq(known, wanted[:, side : side + 1]).solution)[:, 0] * sides[:, side]
        for (image, row, *_), box in zip(of_classes, detected, strict=True):
            boxes[image][row] = box
    return [replace(one, boxes_xyxy=changed, class_scores=None) for one, changed in zip(found, boxes, strict=True)]


if __name__ == "__main__":
    main()
