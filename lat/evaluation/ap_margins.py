"""How far average precision could be off because other images might have been drawn. N labels, I images, K classes.

The margin is half of a 95 % interval: 1.96 standard errors over images, by the infinitesimal jackknife. An image's influence is
by how much AP would change if the image counted a little more. The squares of all influences add up to the variance that a
bootstrap over images would find, as far as AP is linear in the weights of images; nothing is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from lat.evaluation.box_columns import BoxColumns
from lat.evaluation.box_matching import iou_of_pairs, match_rows, share_inside
from lat.evaluation.side_shifts import WITHIN_95
from lat.labels.chunks import chunks_of
from lat.labels.overlaps import pairs_of_one_image

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
LEAST_IMAGES = 5  # with a truth box; fewer tell nothing about the next


@dataclass(frozen=True)
class ApMargins:
    """Half of the 95 % interval of average precision, in the unit of AP; None where fewer than five images tell.

    Attributes:
        ap: that of the mean over classes of AP[.5:.95].
        ap50: the same at IoU 0.50.
        per_class: that of AP[.5:.95] by class name, in the order of the label space.
    """

    ap: float | None
    ap50: float | None
    per_class: dict[str, float | None]


def ap_margins(wanted: BoxColumns, found: BoxColumns, num_images: int, class_names: Sequence[str]) -> ApMargins:
    """The margins of the AP of labels against truth, both as `paired_columns` gives them.

    Images count as independent draws, with all boxes that they have. What two methods on the same images differ by is more
    certain than their margins say.

    Source: Efron (1982), The Jackknife, the Bootstrap and Other Resampling Plans, chapter 6.
    """
    right, counted = _right_and_counted(wanted, found, num_images)
    order = np.lexsort((-found.scores, found.labels))  # stable: images in ascending order where scores are equal
    ends = np.searchsorted(found.labels[order], np.arange(len(class_names) + 1))
    truth = wanted[~wanted.is_crowd]
    overall, at_50 = np.zeros(num_images), np.zeros(num_images)
    per_class: dict[str, float | None] = dict.fromkeys(class_names)
    for k, name in enumerate(class_names):
        wanted_by_image = np.bincount(truth.image[truth.labels == k], minlength=num_images)
        if not wanted_by_image.any():
            continue
        rows = order[ends[k] : ends[k + 1]]
        of_class = partial(_influences, found.image[rows], wanted_by_image)
        each = [of_class(right[t, rows], counted[t, rows]) for t in range(len(IOU_THRESHOLDS))]
        influences = np.mean(each, axis=0)
        per_class[name] = _margin(influences, int(np.count_nonzero(wanted_by_image)))
        overall += influences
        at_50 += each[0]
    classes, images = len(np.unique(truth.labels)), len(np.unique(truth.image))
    return ApMargins(_margin(overall / max(classes, 1), images), _margin(at_50 / max(classes, 1), images), per_class)


def margin_of_mean(margins: Iterable[tuple[str, float | None]]) -> float | None:
    """A margin of the mean over directions, each with its source and its own margin: at most so much, whatever the directions of
    a source, which share images, have in common; sources do not. None without directions, or if one has no margin.
    """
    each, by_source = list(margins), dict[str, float]()
    for source, margin in each:
        if margin is None:
            return None
        by_source[source] = by_source.get(source, 0.0) + margin
    return math.hypot(*by_source.values()) / len(each) if each else None


def _margin(influences: np.ndarray, images: int) -> float | None:
    """Half of the 95 % interval of a figure to which each image contributes an influence (I,); `images` tell of it."""
    if images < LEAST_IMAGES:
        return None
    count = len(influences)
    return 100 * WITHIN_95 * float(np.sqrt(np.square(influences).sum() * count / (count - 1)))


def _influences(image: np.ndarray, wanted: np.ndarray, right: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """By how much the AP of a class at one IoU threshold, in 0..1, would change with the weight of each image, (I,) float64.

    AP is the area under the highest precision at each recall or beyond it. For a label found right that is the precision at
    some peak: labels above the peak raise or lower it too.

    Args:
        image: (N,) of the labels of the class, by descending score.
        wanted: (I,) number of truth boxes of the class in each image, at least one in all.
        right: (N,) bool.
        counted: (N,) bool; the others are neither right nor wrong.
    """
    image, right = image[counted], right[counted]
    rank = np.arange(1, len(image) + 1)
    precision = np.cumsum(right) / rank
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    peaks = np.flatnonzero(precision == highest)
    supported = np.bincount(peaks[np.searchsorted(peaks, np.flatnonzero(right))], minlength=len(image))
    raises, lowers = (np.cumsum(one[::-1])[::-1] for one in (supported / rank, supported * precision / rank))
    by_label = right * (highest + raises) - lowers
    ap = highest[right].sum() / wanted.sum()
    influences: np.ndarray = (np.bincount(image, by_label, minlength=len(wanted)) - ap * wanted) / wanted.sum()
    return influences


def _right_and_counted(wanted: BoxColumns, found: BoxColumns, num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of `IOU_THRESHOLDS`, which labels find a truth box of their class, and which are right or wrong, (10, N) bool."""
    parts = [_of_images(wanted.of(images), found.of(images), images) for images in chunks_of(num_images)]
    right, in_crowd = (np.concatenate(column, axis=-1) for column in zip(*parts, strict=True))
    return right, right | (in_crowd < IOU_THRESHOLDS[:, None])


def _of_images(truth: BoxColumns, labels: BoxColumns, images: range) -> tuple[np.ndarray, np.ndarray]:
    """Which labels of some images are right, (10, N) bool, and the largest share of each in a crowd box of its class, (N,)."""
    objects, crowds = truth[~truth.is_crowd], truth[truth.is_crowd]
    ends, counts = labels.offsets(images), (len(objects.image), len(labels.image))
    rows, places = pairs_of_one_image(objects.offsets(images), ends)
    overlap = iou_of_pairs(objects.boxes_xyxy[rows], labels.boxes_xyxy[places])
    right = np.zeros((len(IOU_THRESHOLDS), counts[1]), bool)
    is_close = objects.labels[rows] == labels.labels[places]
    for t, least in enumerate(IOU_THRESHOLDS):
        is_close &= overlap >= least
        rows, places, overlap, is_close = (column[is_close] for column in (rows, places, overlap, is_close))
        matched = match_rows(rows, places, overlap, counts, second_scores=labels.scores)
        right[t, places[matched]] = True
    places, rows = pairs_of_one_image(ends, crowds.offsets(images))
    is_same = labels.labels[places] == crowds.labels[rows]
    in_crowd = np.zeros(counts[1], np.float32)
    shares = share_inside(labels.boxes_xyxy[places], crowds.boxes_xyxy[rows])
    np.maximum.at(in_crowd, places[is_same], shares[is_same])
    return right, in_crowd
