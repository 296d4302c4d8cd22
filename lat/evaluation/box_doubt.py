"""How doubtful each transferred box is, without any truth: a number from 0 to 1 that ranks boxes and images for review.

Shape letters: I images, A transferred boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lat.evaluation.objectlab import lowest_similarity, objectlab_scores, soft_minimum
from lat.labels.chunks import in_chunks
from lat.labels.class_scores import dense_scores
from lat.labels.overlaps import overlaps
from lat.labels.table import LabelTable

LIES_ON_IOU = 0.5  # a box of another space that overlaps by this much is taken for the same object

_ROWS_AT_ONCE = 10_000

PARTS = ("score", "margin", "agreement", "spread", "badly_located", "swapped", "no_counterpart")
WEIGHTS: Mapping[str, float] = {"score": 4.0, "agreement": 1.0}  # these rank best on street scenes; the other parts explain


@dataclass(frozen=True, eq=False)
class Doubt:
    """Doubt from 0 (sure) to 1.

    Attributes:
        boxes: (A,) float64, the mean of the parts, weighted by `WEIGHTS`; 1 where `no_counterpart` is.
        parts: (A,) float64 for each of `PARTS`.
        images: (I,) float64, `image_doubt`.
        overlooked: (I,) float64, how surely the target's detector found something in the image that has no label.
    """

    boxes: np.ndarray
    parts: dict[str, np.ndarray]
    images: np.ndarray
    overlooked: np.ndarray


def doubt(
    transferred: LabelTable,
    pseudo: LabelTable,
    views: Sequence[LabelTable],
    without_counterpart: LabelTable | None = None,
    progress: Callable[[int], None] = lambda images: None,
) -> Doubt:
    """Doubt of the transferred boxes of a source.

    - score: 1 minus the score.
    - margin: 1 minus the distance from its class score to the next one, background included.
    - agreement: 1 minus the mean agreement of the other label spaces: the IoU of the best box there, times how often its class
      and that of the transferred box occur together in the whole dataset.
    - spread: the mean difference (1 minus IoU) from the boxes of all spaces that lie on it.
    - badly_located, swapped: 1 minus ObjectLab's scores against the target's detector.
    - no_counterpart: 1 if it lies on a human box of a class that is none of the target's, else 0.

    Images are compared a chunk at a time, twice: for what the whole dataset says first.

    Args:
        transferred: the labels, in the target's space.
        pseudo: what the target's detector found.
        views: the labels of the same images in each label space: the source's human boxes, and pseudo-labels of every space;
            all tables have the same images in the same order.
        without_counterpart: the human boxes whose class has no counterpart in the target's space, in these images; None for none.
        progress: called with the number of images that have been compared; in all with twice that of the tables.
    """
    lowest, counts = 1.0, [np.zeros((len(transferred.space), len(view.space))) for view in views]
    for labels, found, *others in in_chunks(transferred, pseudo, *views):
        lowest = min(lowest, lowest_similarity(labels, found))
        for count, view in zip(counts, others, strict=True):
            count += _together(labels, view)
        progress(len(labels))
    known = _Known(lowest, [_shares(count) for count in counts])
    chunks = []
    odd = () if without_counterpart is None else (without_counterpart,)
    for labels, found, *others in in_chunks(transferred, pseudo, *views, *odd):
        chunks.append(_doubt_of_some(known, labels, found, others[: len(views)], others[-1] if odd else None))
        progress(len(labels))
    return Doubt(
        boxes=np.concatenate([one.boxes for one in chunks]),
        parts={name: np.concatenate([one.parts[name] for one in chunks]) for name in PARTS},
        images=np.concatenate([one.images for one in chunks]),
        overlooked=np.concatenate([one.overlooked for one in chunks]),
    )


@dataclass(frozen=True, eq=False)
class _Known:
    """What the whole dataset says: `lowest_similarity`, and `_shares` of each view."""

    lowest: float
    shares: Sequence[np.ndarray]


def _doubt_of_some(
    known: _Known, transferred: LabelTable, pseudo: LabelTable, views: Sequence[LabelTable], odd: LabelTable | None
) -> Doubt:
    """Doubt of some images; `odd` are the boxes without a counterpart."""
    objectlab = objectlab_scores(transferred, pseudo, known.lowest)
    agreement, spread = _views(transferred, views, known.shares)
    score = 1 - transferred.scores.astype(np.float64)
    parts = {
        "score": score,
        "margin": _margin(transferred, score),
        "agreement": agreement,
        "spread": spread,
        "badly_located": 1 - objectlab.badly_located,
        "swapped": 1 - objectlab.swapped,
        "no_counterpart": np.zeros(transferred.num_boxes),
    }
    if odd is not None:
        parts["no_counterpart"] += overlaps(transferred, odd).best()[1] >= LIES_ON_IOU
    boxes = np.maximum(combined(parts, WEIGHTS), parts["no_counterpart"])
    overlooked = 1 - soft_minimum(objectlab.overlooked, pseudo.offsets)
    return Doubt(boxes, parts, image_doubt(boxes, transferred.offsets), overlooked)


def combined(parts: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """The weighted mean (A,) of the parts."""
    total = sum(weights.values())
    return np.clip(sum(weight / total * parts[name] for name, weight in weights.items()), 0.0, 1.0)


def image_doubt(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Doubt (I,) of images: the soft maximum of the doubt (A,) of their boxes; 0 for an image without any."""
    return 1 - soft_minimum(1 - boxes, offsets)


def _margin(transferred: LabelTable, score: np.ndarray) -> np.ndarray:
    if transferred.class_scores is None:
        return score
    margins = [np.zeros(0)]
    for first in range(0, transferred.num_boxes, _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        margins.append(_lead_over_others(dense_scores(transferred.class_scores[rows]), transferred.labels[rows]))
    return np.clip(1 - np.concatenate(margins), 0.0, 1.0)


def _lead_over_others(class_scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """By how much the score of each box's class exceeds the next one, or that of background; (A,) float64."""
    scores = class_scores.astype(np.float64)
    rows = np.arange(len(scores))
    of_label = scores[rows, labels]
    others = np.concatenate([scores, 1 - scores.sum(axis=1, keepdims=True)], axis=1)
    others[rows, labels] = 0.0
    result: np.ndarray = of_label - others.max(axis=1, initial=0.0)
    return result


def _views(transferred: LabelTable, views: Sequence[LabelTable], shares: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The parts `agreement` and `spread`, (A,) each, given the shares (`_shares`) of each view."""
    count = transferred.num_boxes
    agreement, distance, found = np.zeros(count), np.zeros(count), np.zeros(count)
    for view, share in zip(views, shares, strict=True):
        pairs = overlaps(transferred, view)
        row, iou = pairs.best()
        on = (iou >= LIES_ON_IOU) & (row >= 0)
        together = share[transferred.labels[pairs.first], view.labels[pairs.second]]
        agreement += pairs.highest(pairs.iou * together, 0.0)
        distance += np.where(on, 1 - iou, 0.0)
        found += on
    spread = np.where(found > 0, distance / np.maximum(found, 1), 1 - LIES_ON_IOU) / (1 - LIES_ON_IOU)
    return 1 - agreement / max(len(views), 1), np.clip(spread, 0.0, 1.0)


def _together(transferred: LabelTable, view: LabelTable) -> np.ndarray:
    """(rows, columns): how often a box of a class has a box of each class of another space on it."""
    row, iou = overlaps(transferred, view).best()
    on = (iou >= LIES_ON_IOU) & (row >= 0)
    pairs = transferred.labels[on] * len(view.space) + view.labels[row[on]]
    shape = len(transferred.space), len(view.space)
    return np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)


def _shares(counts: np.ndarray) -> np.ndarray:
    """(rows, columns): how often two classes lie on each other, as the larger of the pair's shares of its row and its column."""
    of_rows, of_columns = np.maximum(counts.sum(axis=1, keepdims=True), 1), np.maximum(counts.sum(axis=0), 1)
    result: np.ndarray = np.maximum(counts / of_rows, counts / of_columns)
    return result
