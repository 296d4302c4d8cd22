"""Riders and their two-wheelers: one box of `nu` or `way` must become two of `city`, and two become one.

    python benchmarks/compound_objects.py --config FILE [KEY=VALUE ...] [--sheets FOLDER] [--json FILE]

FILE is the configuration of a finished run on street scenes (`lat street-scenes OUT`, `lat run OUT/config.yaml`). The scenes are
painted again, so that the boxes of ridden two-wheelers are known exactly. Each row is a direction and a method:

objects   ridden two-wheelers of which the truth in the target's label space has a box
complete  those of which every truth box has a label of its own: right class, IoU of at least 0.5, a score of at least
          `evaluation.counted_threshold`; where the target draws one box, there must also be no box too many (at that IoU a box of
          the two-wheeler alone may pass for the one of both: AP tells them apart)
too many  labels of such a score that no truth box has, that lie in an object by half of their area, and that overlap no other
          truth box more
AP, AP50  of all labels, as COCO computes it, where the only boxes to find are those of ridden two-wheelers and all other truth
          boxes are crowds: labels of their class that lie on them are neither right nor wrong

With `--sheets`, FOLDER/SOURCE.TARGET.png shows some of these objects: source, truth, pseudo-labels and transferred labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from compound_sheet import draw_sheet
from markdown import Row, print_rows
from torch import Tensor
from torchvision.ops import box_iou

from lat.config.load import load_config
from lat.core.boxes import covered_share
from lat.core.errors import InputError
from lat.core.structures import LabeledBoxes
from lat.data.tensors import boxes_of, boxes_per_image
from lat.evaluation.box_matching import match_boxes
from lat.evaluation.detection_ap import detection_ap
from lat.labels.table import LabelTable
from lat.stages.evaluate import TRANSFER_METHODS, candidate_labels
from lat.street_scenes import SPACES, paint_image
from lat.street_scenes.protocols import annotate
from lat.workspace.label_files import counted_labels, read_pseudo_labels, read_transferred, read_truth
from lat.workspace.workspace import Workspace

BOXES_OF_A_RIDDEN = {"city": 2, "nu": 1, "way": 1, "bdd": 2}
IOU, INSIDE = 0.5, 0.5
SHEET_OBJECTS = 5


class Direction:
    """The ridden two-wheelers in a source's training images, and their boxes in a target's space.

    `objects[i]` (A,) has the number of the ridden two-wheeler of each truth box of image i, or -1.
    """

    def __init__(self, workspace: Workspace, source: str, target: str) -> None:
        self.workspace, self.source, self.target = workspace, source, target
        self.boxes_of_one = BOXES_OF_A_RIDDEN[target]
        truth = read_truth(workspace, source, target)
        assert truth is not None
        self.truth = truth
        self.objects = [ridden_boxes(truth, i, source, target) for i in range(len(truth))]
        methods = {method: labels() for method, labels in candidate_labels(workspace, source, target).items()}
        self.labels = {
            method: boxes_per_image(labels) if isinstance(labels, LabelTable) else list(labels)
            for method, labels in methods.items()
        }

    def __len__(self) -> int:
        return sum(len(numbers_of(objects)) for objects in self.objects)

    @property
    def name(self) -> str:
        return f"{self.source} -> {self.target}"

    @property
    def change(self) -> str:
        return f"{BOXES_OF_A_RIDDEN[self.source]} to {self.boxes_of_one}"

    def found(self, method: str) -> tuple[int, int]:
        """Number of complete objects, and of surplus boxes, among the labels of a method."""
        threshold = self.workspace.config.evaluation.counted_threshold
        complete = too_many = 0
        for i, objects in enumerate(self.objects):
            labels = self.labels[method][i]
            truth, labels = boxes_of(self.truth, i), labels[labels.scores >= threshold]
            matched, unmatched = match_classes(truth, labels)
            surplus = surplus_of(truth.boxes_xyxy, objects, labels.boxes_xyxy[unmatched])
            too_many += len(surplus)
            for number in numbers_of(objects):
                has_labels = set((objects == number).nonzero().flatten().tolist()) <= matched
                complete += has_labels and not (self.boxes_of_one == 1 and number in surplus)
        return complete, too_many

    def ap(self, method: str) -> tuple[float, float]:
        """AP and AP50 with only the boxes of ridden two-wheelers to find."""
        is_other = torch.cat(self.objects).numpy() < 0
        result = detection_ap(replace(self.truth, is_crowd=is_other), self.labels[method])
        return result.ap or 0.0, result.ap50 or 0.0


def ridden_boxes(truth: LabelTable, i: int, source: str, target: str) -> Tensor:
    """(A,) int64: for each truth box of image `i`, the number of its ridden two-wheeler, or -1.

    Raises:
        InputError: if the image is not a street scene, or the truth differs from the scene painted again.
    """
    info, boxes = truth.info, boxes_of(truth, i).boxes_xyxy.numpy()
    try:
        _, users = paint_image(source, int(truth.image_ids[i]), info["difficulty"], info["seed"])
    except (KeyError, ValueError):
        raise InputError(truth.path, "is not of street scenes", "draw some with `lat street-scenes`") from None
    labels = [annotate([user], target) for user in users]
    painted = np.array([one.box_xywh for of_user in labels for one in of_user], dtype=np.float32).reshape(-1, 4)
    painted[:, 2:] += painted[:, :2]
    if painted.shape != boxes.shape or not np.array_equal(painted, boxes):
        raise InputError(truth.path, f"image {truth.image_ids[i]} differs from the scene drawn", "draw the street scenes again")
    numbers = [n if user.rider is not None else -1 for n, user in enumerate(users) for _ in labels[n]]
    return torch.tensor(numbers, dtype=torch.int64)


def numbers_of(objects: Tensor) -> list[int]:
    """The numbers of the ridden two-wheelers that have a box."""
    return objects[objects >= 0].unique().tolist()


def match_classes(truth: LabeledBoxes, labels: LabeledBoxes) -> tuple[set[int], Tensor]:
    """Match labels one to one with truth boxes of the same class, best IoU first; return matched truth rows and other labels."""
    apart = 1e4  # pixels between the boxes of one class and those of the next: no two of them overlap
    matches = match_boxes(*((one.boxes_xyxy + apart * one.labels[:, None]).numpy() for one in (truth, labels)), IOU)
    return set(matches.first.tolist()), torch.from_numpy(matches.second_unmatched)


def surplus_of(truth_xyxy: Tensor, objects: Tensor, left_over_xyxy: Tensor) -> list[int]:
    """For each leftover label on a ridden two-wheeler, the number of that object."""
    if not len(truth_xyxy) or not len(left_over_xyxy):
        return []
    best = objects[box_iou(left_over_xyxy, truth_xyxy).argmax(dim=1)]
    surplus = []
    for box, number in zip(left_over_xyxy, best.tolist(), strict=True):
        if number >= 0 and float(covered_share(box[None], extent_of(truth_xyxy, objects, number)[None])) >= INSIDE:
            surplus.append(number)
    return surplus


def extent_of(truth_xyxy: Tensor, objects: Tensor, number: int) -> Tensor:
    """(4,) the box around all truth boxes of an object."""
    boxes = truth_xyxy[objects == number]
    return torch.cat([boxes[:, :2].amin(dim=0), boxes[:, 2:].amax(dim=0)])


def table(directions: Sequence[Direction]) -> list[Row]:
    """A row per direction and method; then sums, and means of AP, over the directions of each kind."""
    rows: list[Row] = []
    for change in sorted({direction.change for direction in directions}):
        of_kind = [direction for direction in directions if direction.change == change]
        figures = {
            (one.name, method): (len(one), *one.found(method), *one.ap(method)) for one in of_kind for method in TRANSFER_METHODS
        }
        rows += [_row(change, name, method, columns) for (name, method), columns in figures.items()]
        for method in TRANSFER_METHODS:
            columns = zip(*(figures[one.name, method] for one in of_kind), strict=True)
            objects, complete, too_many, ap, ap50 = map(sum, columns)
            means = (objects, complete, too_many, ap / len(of_kind), ap50 / len(of_kind))
            rows.append(_row(change, "all", method, means))
    return rows


def _row(change: str, name: str, method: str, figures: tuple[int, int, int, float, float]) -> Row:
    """Figures are objects, complete ones, boxes too many, AP and AP50."""
    objects, complete, too_many, ap, ap50 = figures
    return {
        "boxes": change,
        "source -> target": name,
        "method": method,
        "objects": objects,
        "complete": complete,
        "complete (%)": f"{100 * complete / max(objects, 1):.1f}",
        "too many": too_many,
        "AP": f"{ap:.1f}",
        "AP50": f"{ap50:.1f}",
    }


def sheet(direction: Direction, folder: Path) -> None:
    """Draw a few objects, evenly spaced over the images of a direction."""
    workspace, source, target = direction.workspace, direction.source, direction.target
    part, counted = workspace.data.train_part(source), counted_labels(workspace, read_transferred(workspace, source, target))
    pseudo = counted_labels(workspace, read_pseudo_labels(workspace, source, target))
    everything = [(i, number) for i, objects in enumerate(direction.objects) for number in numbers_of(objects)]
    rows = []
    for i, number in everything[:: max(len(everything) // SHEET_OBJECTS, 1)][:SHEET_OBJECTS]:
        truth = boxes_of(direction.truth, i)
        extent = extent_of(truth.boxes_xyxy, direction.objects[i], number)
        panels = {f"{source}: source": part.boxes(i), f"{target}: truth": truth}
        panels |= {f"{target}: pseudo-labels": boxes_of(pseudo, i), f"{target}: transferred": boxes_of(counted, i)}
        rows.append((part.image(i), extent, panels))
    draw_sheet(folder / f"{source}.{target}.png", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", required=True, metavar="FILE", help="the run's configuration, then KEY=VALUE")
    parser.add_argument("--sheets", type=Path, default=None, help="folder for pictures of some objects of each direction")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    workspace = Workspace(load_config(Path(options.config[0]), options.config[1:]))
    if unknown := [name for name in workspace.names if name not in SPACES]:
        raise InputError("datasets", f"'{unknown[0]}' is not one of street scenes", "choose a run on street scenes")
    directions = [
        Direction(workspace, source, target)
        for source, target in workspace.transfers()
        if BOXES_OF_A_RIDDEN[source] != BOXES_OF_A_RIDDEN[target]
    ]
    print_rows("compound_objects", table(directions), options.json)
    for direction in directions if options.sheets else ():
        sheet(direction, options.sheets)


if __name__ == "__main__":
    main()
