"""ObjectLab: how well given labels agree with a detector's predictions, for three kinds of mistakes.

The package `cleanlab` computes the same scores with pandas, scikit-learn and a Python loop over every pair of boxes: 3.9 ms per
image of 8 boxes, against 0.03 ms here. A test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lat.labels.overlaps import Overlaps, overlaps
from lat.labels.table import LabelTable

IOU_SHARE = 0.9  # weight of IoU in the similarity of two boxes; the rest is the nearness of their centres
DISTANCE_FACTOR = 0.1  # per pixel
LOW, HIGH = 0.5, 0.95  # score thresholds: of predictions that tell where a box is; that tell what was overlooked or swapped
SAME_IOU = 0.95  # two labels of different classes that overlap this much contradict each other
TEMPERATURE = 0.1  # of the soft minimum over the boxes of an image


@dataclass(frozen=True, eq=False)
class ObjectLabScores:
    """Quality from 0 (surely a mistake) to 1 (no sign of one).

    Attributes:
        badly_located: (A,) float64, one per label: similarity of the most similar prediction of its class.
        swapped: (A,) float64, one per label: 1 minus the similarity of the most similar sure prediction of another class.
        overlooked: (P,) float64, one per prediction: its nearness to a label of its class; NaN unless it is sure and overlaps
            no label.
    """

    badly_located: np.ndarray
    swapped: np.ndarray
    overlooked: np.ndarray


def objectlab_scores(labels: LabelTable, predictions: LabelTable, lowest: float) -> ObjectLabScores:
    """Compare labels with predictions of the same images, in the same order and label space.

    `lowest` is the `lowest_similarity` of the whole dataset, of which these may be some images.

    Source: Tkachenko, Thyagarajan, Mueller, "ObjectLab: Automated Diagnosis of Mislabeled Images in Object Detection Data"
    (2023), section 3, with its constants.
    """
    pairs = overlaps(labels, predictions)
    similarity = _similarity(pairs)
    same = labels.labels[pairs.first] == predictions.labels[pairs.second]
    scores = predictions.scores[pairs.second]
    located = np.where(same & (scores > LOW) & (pairs.iou > 0), similarity, np.nan)
    other = np.where(~same & (scores > HIGH), similarity, np.nan)
    swapped = 1 - pairs.highest(other, 0.0)
    swapped = np.where(pairs.highest(other, -1.0) < 0, 1.0, np.maximum(swapped, lowest))
    swapped[_contradicted(labels)] = lowest
    back = pairs.turned(predictions.num_boxes)
    touched = back.highest(back.iou, 0.0) > 0
    of_class = labels.labels[back.second] == predictions.labels[back.first]
    nearest = back.highest(np.where(of_class, _similarity(back), np.nan), -1.0)
    overlooked = np.where(nearest >= 0, nearest, lowest * (1 - predictions.scores.astype(np.float64)))
    overlooked[touched | (predictions.scores < HIGH)] = np.nan
    return ObjectLabScores(pairs.highest(located, 1.0), swapped, overlooked)


def lowest_similarity(labels: LabelTable, predictions: LabelTable) -> float:
    """The lowest similarity above 0 of a label and a prediction of one image; 1 without any."""
    similarity = _similarity(overlaps(labels, predictions))
    return float(similarity[similarity > 0].min(initial=1.0))


def _similarity(pairs: Overlaps) -> np.ndarray:
    result: np.ndarray = IOU_SHARE * pairs.iou + (1 - IOU_SHARE) * np.exp(-DISTANCE_FACTOR * pairs.distance)
    return result


def _contradicted(labels: LabelTable) -> np.ndarray:
    """(A,) bool: labels with a label of another class on them."""
    pairs = overlaps(labels, labels)
    differ = labels.labels[pairs.first] != labels.labels[pairs.second]
    return pairs.highest(np.where(differ, pairs.iou, np.nan), 0.0) >= SAME_IOU


def soft_minimum(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """One score per image, (I,), from the scores (A,) of its boxes: those of image i are at `offsets[i]:offsets[i + 1]`. NaNs are
    left out; an image without any score has 1.

    Source: ObjectLab, section 3: the mean of an image's scores, weighted by softmax(-score / temperature).
    """
    image = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    known = ~np.isnan(values)
    image, values = image[known], values[known]
    weights = np.exp(-values / TEMPERATURE)
    total = np.bincount(image, weights, minlength=len(offsets) - 1)
    mean = np.bincount(image, weights * values, minlength=len(offsets) - 1) / np.where(total > 0, total, 1)
    return np.where(total > 0, mean, 1.0)
