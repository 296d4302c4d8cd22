"""Two annotators of the same images, each with a class list of their own, compared by where their boxes lie.

No class name is compared: boxes match by place, and what their classes have in common follows from the matches. Shape letters:
I images, N and M boxes of the first and of the second annotator, K and L their classes, P matched pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lat.core.label_space import LabelSpace
from lat.evaluation.box_matching import match_rows, others_than
from lat.evaluation.detection_ap import ApResult, detection_ap
from lat.evaluation.nominal_alpha import nominal_alpha
from lat.evaluation.side_shifts import LEAST_PAIRS, ClassConvention, class_convention
from lat.labels.chunks import in_chunks
from lat.labels.overlaps import overlaps
from lat.labels.table import LabelTable

MATCHED_IOU = 0.5  # IoU from which two boxes are the same object
DOUBLED_IOU = 0.8  # IoU from which two boxes of one class in one file are one object drawn twice
NOTHING = -1

Progress = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class ComparedLabels:
    """Boxes of two annotators, matched one to one by place; crowd boxes are left out.

    Attributes:
        first, second: tables of the same I images in the same order, without crowd boxes.
        rows_first, rows_second: (P,) int64 rows of the matched boxes.
        iou: (P,) float64 of each pair.
        doubled_first, doubled_second: (N,) and (M,) bool, boxes that repeat an earlier one of their own file and class.
    """

    first: LabelTable
    second: LabelTable
    rows_first: np.ndarray
    rows_second: np.ndarray
    iou: np.ndarray
    doubled_first: np.ndarray
    doubled_second: np.ndarray

    def turned(self) -> ComparedLabels:
        """The same seen from the second annotator."""
        rows, doubled = (self.rows_second, self.rows_first), (self.doubled_second, self.doubled_first)
        return ComparedLabels(self.second, self.first, *rows, self.iou, *doubled)

    @cached_property
    def partners(self) -> np.ndarray:
        """(N,) int64: the second annotator's box of each of the first's, or `NOTHING`."""
        partners = np.full(self.first.num_boxes, NOTHING)
        partners[self.rows_first] = self.rows_second
        return partners

    @cached_property
    def counts(self) -> np.ndarray:
        """(K, L + 1) int64: boxes of each of the first's classes by the class of their partner, those without one last."""
        num_first, num_second = len(self.first.space), len(self.second.space)
        seen_as = np.where(self.partners == NOTHING, num_second, self._second_labels(self.partners))
        cells = self.first.labels * (num_second + 1) + seen_as
        counts: np.ndarray = np.bincount(cells, minlength=num_first * (num_second + 1)).reshape(num_first, num_second + 1)
        return counts

    def _second_labels(self, rows: np.ndarray) -> np.ndarray:
        """Classes of these rows of the second table; any for `NOTHING`."""
        labels: np.ndarray = np.append(self.second.labels, 0)[rows]
        return labels

    @cached_property
    def counterparts(self) -> np.ndarray:
        """(K,) int64: the class that most matched boxes of each class have in the other file, or `NOTHING`."""
        matched = self.counts[:, :-1]
        return np.where(matched.any(axis=1), matched.argmax(axis=1), NOTHING)

    @cached_property
    def differs(self) -> np.ndarray:
        """(N,) bool: boxes whose class and whose partner's class are not likeliest counterparts, in either direction."""
        seen_as, back = self._second_labels(self.partners), self.turned().counterparts
        agrees = (self.counterparts[self.first.labels] == seen_as) | (back[seen_as] == self.first.labels)
        differs: np.ndarray = (self.partners != NOTHING) & ~agrees
        return differs

    def units(self) -> tuple[np.ndarray, np.ndarray]:
        """The classes (U,) and (U,) int64 that both give to all that either boxed: matched pairs, and boxes of one alone.

        Both in the first's numbering: a class of the second stands for its likeliest counterpart, or for itself, as K, K + 1
        and so on, if it has none; `NOTHING` is what the other says of a box that is in one file alone.
        """
        back = self.turned().counterparts
        mapped = np.where(back == NOTHING, len(self.first.space) + np.arange(len(back)), back)
        alone = others_than(self.rows_second, self.second.num_boxes)
        seen_as = np.where(self.partners == NOTHING, NOTHING, np.append(mapped, 0)[self._second_labels(self.partners)])
        first = np.concatenate([self.first.labels, np.full(len(alone), NOTHING)])
        return first, np.concatenate([seen_as, mapped[self.second.labels[alone]]])

    def ap(self) -> ApResult:
        """AP of the first's boxes against the second's, after mapping each class to its likeliest counterpart."""
        return detection_ap(self.second, _in_space(self.first, self.counterparts, self.second.space))

    def conventions(self) -> list[ClassConvention]:
        """How boxes differ, for each two classes that meet in at least `LEAST_PAIRS` pairs, the most frequent two first."""
        meeting = [(int(self.counts[k, m]), k, m) for k, m in np.argwhere(self.counts[:, :-1] >= LEAST_PAIRS).tolist()]
        return [self._convention(k, m) for _, k, m in sorted(meeting, key=lambda one: -one[0])]

    def _convention(self, k: int, m: int) -> ClassConvention:
        chosen = (self.first.labels[self.rows_first] == k) & (self.second.labels[self.rows_second] == m)
        first = self.first.boxes_xyxy[self.rows_first[chosen]]
        second = self.second.boxes_xyxy[self.rows_second[chosen]]
        return class_convention((self.first.space.class_names[k], self.second.space.class_names[m]), first, second)

    def class_figures(self) -> list[dict[str, Any]]:
        """What becomes of the boxes of each class of the first, as JSON types; shares are of its boxes, None without any."""
        matched_labels, names = self.first.labels[self.rows_first], self.second.space.class_names
        doubled = np.bincount(self.first.labels[self.doubled_first], minlength=len(self.first.space))
        first, second = self.units()
        rows = []
        for k, (name, counts) in enumerate(zip(self.first.space.class_names, self.counts.tolist(), strict=True)):
            boxes, counterpart = sum(counts), int(self.counterparts[k])
            iou = self.iou[matched_labels == k]
            row = {"class": name, "boxes": boxes, "matched": boxes - counts[-1], "missed": counts[-1]}
            row |= {"missed_share": counts[-1] / boxes if boxes else None, "doubled": int(doubled[k])}
            row |= {"mean_iou": float(iou.mean()) if len(iou) else None, "alpha": nominal_alpha(first == k, second == k)}
            row |= {"counterpart": None if counterpart == NOTHING else names[counterpart]}
            row |= {"counts": dict(zip(names, counts, strict=False))}
            row |= {"shares": {other: count / boxes if boxes else None for other, count in row["counts"].items()}}
            rows.append(row)
        return rows

    def figures(self) -> dict[str, Any]:
        """All figures as JSON types; A is the first annotator, B the second.

        `classes` has what became of the boxes of each class, both ways; `ap` those of `A_against_B`, where B counts as truth,
        and the other way round; `alpha` that of `nominal_alpha` over all `units`, and `alpha_of_matched` over matched pairs.
        """
        turned = self.turned()
        first, second = self.units()
        in_both = (first != NOTHING) & (second != NOTHING)
        return {
            "images": len(self.first),
            "boxes": {"A": self.first.num_boxes, "B": self.second.num_boxes},
            "matched": len(self.iou),
            "mean_iou": float(self.iou.mean()) if len(self.iou) else None,
            "alpha": nominal_alpha(first, second),
            "alpha_of_matched": nominal_alpha(first[in_both], second[in_both]),
            "ap": {"A_against_B": self.ap().to_dict(), "B_against_A": turned.ap().to_dict()},
            "classes": {"A": self.class_figures(), "B": turned.class_figures()},
            "conventions": [one.to_dict() for one in self.conventions()],
        }


def compare_labels(first: LabelTable, second: LabelTable, progress: Progress = lambda images: None) -> ComparedLabels:
    """Match the boxes of two annotators, whatever their classes: the pair with the highest IoU first, down to `MATCHED_IOU`.

    Args:
        first, second: tables of the same images in the same order, each in its own label space.
        progress: called with the number of images whose boxes are matched.
    """
    first, second = first.where(~first.is_crowd), second.where(~second.is_crowd)
    parts, doubled, start = [], [], np.zeros(2, np.int64)
    for one, other in in_chunks(first, second):
        parts.append(_matches(one, other, start))
        doubled.append((_doubled(one), _doubled(other)))
        start = start + (one.num_boxes, other.num_boxes)
        progress(len(one))
    matches = (np.concatenate(column) for column in zip(*parts, strict=True))
    return ComparedLabels(first, second, *matches, *(np.concatenate(column) for column in zip(*doubled, strict=True)))


def _matches(first: LabelTable, second: LabelTable, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and IoU (P,) of the matched pairs of some images, whose boxes begin at rows `start` (2,) of the whole tables."""
    pairs = overlaps(first, second)
    close = pairs.iou >= MATCHED_IOU
    rows, others, iou = pairs.first[close], pairs.second[close], pairs.iou[close]
    matched = match_rows(rows, others, iou, (first.num_boxes, second.num_boxes))
    return rows[matched] + start[0], others[matched] + start[1], iou[matched]


def _doubled(table: LabelTable) -> np.ndarray:
    """(A,) bool: boxes that lie on an earlier one of the same class in the same image."""
    pairs = overlaps(table, table)
    is_double = (pairs.first < pairs.second) & (pairs.iou >= DOUBLED_IOU)
    is_double &= table.labels[pairs.first] == table.labels[pairs.second]
    doubled = np.zeros(table.num_boxes, bool)
    doubled[pairs.second[is_double]] = True
    return doubled


def _in_space(table: LabelTable, classes: np.ndarray, space: LabelSpace) -> LabelTable:
    """The table in another label space, where its class k is `classes[k]` (K,), and its boxes of no class there are left out."""
    known = table.where(np.append(classes, NOTHING)[table.labels] != NOTHING)
    return replace(known, space=space, labels=classes[known.labels], class_scores=None)
