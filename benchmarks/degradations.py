"""Derive second annotation protocols from a careful one by degrading the boxes of each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.labels.table import LabelTable

RED_CELL, WHITE_CELL, CUT_RED_CELL = "rbc", "wbc", "rbc_cut"
CAREFUL_CLASSES = (RED_CELL, WHITE_CELL, CUT_RED_CELL)
CUT_MARGIN = 2.0  # pixels; hardly any box lies just beyond it, so the rule matches what a person sees


@dataclass(frozen=True)
class ClassDegradation:
    """What a protocol does to the boxes of one careful class. Shares are of the box's own width and height."""

    left_out: float = 0.0  # share of the boxes that are not drawn, in [0, 1]
    loosening: float = 1.0  # factor on width and height about the centre, 1 or more
    shift: tuple[float, float] = (0.0, 0.0)  # every box is moved right and down by these shares, each within (-1, 1)
    noise: float = 0.0  # standard deviation of each box's own shift and change of size, as a share


@dataclass(frozen=True)
class Degradation:
    """A protocol: what it does to the boxes of each careful class, and its name for the class.

    Attributes:
        boxes: by careful class; the boxes of classes not listed are unchanged.
        names: by careful class; classes not listed keep their names. Classes with equal names are merged.
    """

    boxes: Mapping[str, ClassDegradation] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def space(self, name: str) -> LabelSpace:
        """The label space of the protocol, in the order of the careful classes."""
        return LabelSpace.from_names(name, list(dict.fromkeys(self.class_name(careful) for careful in CAREFUL_CLASSES)))

    def class_name(self, careful: str) -> str:
        """The protocol's name for a careful class."""
        return self.names.get(careful, careful)


LOOSE = {
    RED_CELL: ClassDegradation(loosening=1.3, shift=(0.1, 0.0), noise=0.03),
    WHITE_CELL: ClassDegradation(loosening=1.15, shift=(0.0, -0.12), noise=0.03),
    CUT_RED_CELL: ClassDegradation(loosening=1.2, shift=(-0.05, 0.1), noise=0.03),
}
LEFT_OUT = {RED_CELL: 0.35, WHITE_CELL: 0.15, CUT_RED_CELL: 0.6}
INCOMPLETE = {name: ClassDegradation(left_out=share) for name, share in LEFT_OUT.items()}
LOOSE_INCOMPLETE = {name: replace(LOOSE[name], left_out=share) for name, share in LEFT_OUT.items()}
MERGED = dict.fromkeys(CAREFUL_CLASSES, "cell")
RENAMED = {RED_CELL: "erythrocyte", WHITE_CELL: "leukocyte", CUT_RED_CELL: "partial_erythrocyte"}

DEGRADATIONS = {
    "control": Degradation(),
    "loose": Degradation(LOOSE),
    "incomplete": Degradation(INCOMPLETE),
    "merged": Degradation(names=MERGED),
    "loose, incomplete": Degradation(LOOSE_INCOMPLETE),
    "loose, incomplete, renamed": Degradation(LOOSE_INCOMPLETE, RENAMED),
    "loose, incomplete, merged": Degradation(LOOSE_INCOMPLETE, MERGED),
}


def with_cut_cells(table: LabelTable, name: str) -> LabelTable:
    """The careful protocol: the table of `rbc` and `wbc`, with red cells cut off by the image as a separate class.

    A red cell is `rbc_cut` if its box comes within `CUT_MARGIN` of a border of its image.
    """
    space = LabelSpace.from_names(name, CAREFUL_CLASSES)
    classes = np.array([space.class_names.index(class_name) for class_name in table.space.class_names])[table.labels]
    limits_wh = _sizes_wh(table) - CUT_MARGIN
    is_cut = (table.boxes_xyxy[:, :2] <= CUT_MARGIN).any(axis=1) | (table.boxes_xyxy[:, 2:] >= limits_wh).any(axis=1)
    is_red = classes == space.class_names.index(RED_CELL)
    return replace(table, space=space, labels=np.where(is_red & is_cut, space.class_names.index(CUT_RED_CELL), classes))


def degrade(table: LabelTable, degradation: Degradation, name: str, seed: int) -> list[LabeledBoxes]:
    """The labels of a careful table under another protocol.

    Of a class's A boxes, round(left_out * A) are left out. Which ones, and each box's noise, depend only on table and seed:
    degradations that differ only in names have the same boxes.

    Args:
        table: in the space of `with_cut_cells`.
        degradation: the protocol.
        name: name of the resulting label space.
        seed: seed of everything random.

    Returns:
        One entry per image, in the protocol's space; boxes are clipped to their image.
    """
    generator = np.random.default_rng([seed, table.num_boxes])
    lots, noise = generator.random(table.num_boxes), generator.standard_normal((table.num_boxes, 4))
    space = degradation.space(name)
    kept = np.ones(table.num_boxes, dtype=bool)
    boxes, labels = table.boxes_xyxy.astype(np.float64), np.zeros(table.num_boxes, dtype=np.int64)
    for careful, class_name in enumerate(table.space.class_names):
        rows = np.flatnonzero(table.labels == careful)
        change = degradation.boxes.get(class_name, ClassDegradation())
        kept[rows[np.argsort(lots[rows])][: round(change.left_out * len(rows))]] = False
        boxes[rows] = _redraw(boxes[rows], change, noise[rows])
        labels[rows] = space.class_names.index(degradation.class_name(class_name))
    boxes = np.clip(boxes, 0.0, np.tile(_sizes_wh(table), 2)).astype(np.float32)
    chosen = [np.arange(table.num_boxes)[table.rows(i)][kept[table.rows(i)]] for i in range(len(table))]
    return [LabeledBoxes(torch.tensor(boxes[rows]), torch.tensor(labels[rows]), space) for rows in chosen]


def _redraw(boxes_xyxy: np.ndarray, change: ClassDegradation, noise: np.ndarray) -> np.ndarray:
    """Boxes (A, 4) loosened and moved; `noise` is (A, 4) of a standard normal distribution."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2 + sides * (np.array(change.shift) + change.noise * noise[:, :2])
    halves = sides * (change.loosening * np.exp(change.noise * noise[:, 2:])) / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def _sizes_wh(table: LabelTable) -> np.ndarray:
    """(A, 2) width and height of the image of each box."""
    return np.repeat(table.sizes_hw[:, ::-1], np.diff(table.offsets), axis=0)
