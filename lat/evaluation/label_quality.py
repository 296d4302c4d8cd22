"""The quality of labels at a threshold, and the calibration of their scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lat.evaluation.box_columns import BoxColumns, paired_columns
from lat.evaluation.box_matching import iou_of_pairs, match_rows, share_inside
from lat.evaluation.reliability import ReliabilityBin, best_threshold, expected_calibration_error, reliability_bins
from lat.labels.chunks import chunks_of, in_chunks
from lat.labels.overlaps import pairs_of_one_image
from lat.labels.table import LabelTable

if TYPE_CHECKING:  # scoring two files needs no torch
    from torch import Tensor

    from lat.core.structures import LabeledBoxes

IOU = 0.5


@dataclass(frozen=True, eq=False)
class ScoredHits:
    """Labels that are right or wrong, in no particular order.

    Attributes:
        labels: (N,) int64 class indices.
        scores: (N,) float32.
        iou: (N,) float32 IoU with the truth box that the label finds; 0 for wrong labels.
        truth: number of truth boxes to find.
    """

    labels: np.ndarray
    scores: np.ndarray
    iou: np.ndarray
    truth: int

    @property
    def hits(self) -> np.ndarray:
        """(N,) bool: True if the label is right."""
        return self.iou > 0


@dataclass(frozen=True)
class LabelQuality:
    """Figures from 0 to 1, over all images and classes together; None where undefined.

    Attributes:
        precision: share of right labels among those at or above the threshold.
        recall: share of truth boxes that these find.
        f1: 2 * right / (labels at or above the threshold + truth boxes).
        mean_iou: mean IoU of the right ones with their truth boxes.
        ece: expected calibration error of all labels, in ten bins of equal mass.
        f1_best: F1 at the threshold where it is highest; finding it needs truth.
        threshold_best: that threshold.
        f1_chosen: F1 at the threshold chosen without truth (`best_threshold`), which relies on calibrated scores.
        threshold_chosen: that threshold.
        reliability: the bins of `ece`, by ascending score.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    mean_iou: float | None
    ece: float | None
    f1_best: float | None
    threshold_best: float | None
    f1_chosen: float | None
    threshold_chosen: float | None
    reliability: tuple[ReliabilityBin, ...]

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return asdict(self)


def label_quality(truth: LabelTable, labels: LabelTable | Iterable[LabeledBoxes], score_threshold: float) -> LabelQuality:
    """Compare labels with truth; arguments and errors are those of `detection_ap`.

    A label is right if it finds a truth box of its class (`scored_hits`).
    """
    return quality_of_hits(scored_hits(truth, labels), score_threshold)


def quality_of_hits(found: ScoredHits, score_threshold: float) -> LabelQuality:
    """The figures of `label_quality` of labels that are known to be right or wrong."""
    kept = found.scores >= score_threshold
    right = kept & found.hits
    bins = reliability_bins(found.scores, found.hits)
    best = best_threshold(found.scores, found.hits, found.truth)
    chosen = best_threshold(found.scores, found.scores, float(found.scores.sum(dtype=np.float64)))
    return LabelQuality(
        precision=float(right.sum() / kept.sum()) if kept.any() else None,
        recall=float(right.sum() / found.truth) if found.truth else None,
        f1=_f1(found, score_threshold),
        mean_iou=float(found.iou[right].mean(dtype=np.float64)) if right.any() else None,
        ece=expected_calibration_error(bins),
        f1_best=_f1(found, best),
        threshold_best=best,
        f1_chosen=_f1(found, chosen),
        threshold_chosen=chosen,
        reliability=bins,
    )


def _f1(found: ScoredHits, threshold: float | None) -> float | None:
    """F1 of the labels at or above a threshold, which is None without labels."""
    kept = found.scores >= (1.0 if threshold is None else threshold)
    either = int(kept.sum()) + found.truth
    return 2 * int((kept & found.hits).sum()) / either if either else None


def scored_hits(truth: LabelTable, labels: LabelTable | Iterable[LabeledBoxes], iou: float = IOU) -> ScoredHits:
    """Match labels one to one with truth boxes of the same image and class, at an IoU of `iou` or more.

    As in COCO, labels choose in order of descending score (then of IoU), each the free truth box of highest IoU: a label's
    match does not depend on lower scores, so one matching serves every threshold. Unmatched labels with a share of at least
    `iou` of their area in a crowd box of their class are left out.
    """
    return hits_of_columns(*paired_columns(truth, labels), len(truth), iou)


def hits_of_columns(wanted: BoxColumns, found: BoxColumns, num_images: int, iou: float = IOU) -> ScoredHits:
    """The same for truth and labels as `paired_columns` gives them."""
    parts = [_match_images(wanted.of(images), found.of(images), images, iou) for images in chunks_of(num_images)]
    classes, scores, ious = (np.concatenate(column) for column in zip(*parts, strict=True))
    return ScoredHits(classes, scores, ious, int((~wanted.is_crowd).sum()))


def _match_images(
    truth: BoxColumns, labels: BoxColumns, images: range, least_iou: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes, scores and IoUs (N,) of the labels of some images that are right or wrong."""
    wanted, crowds = truth[~truth.is_crowd], truth[truth.is_crowd]
    ends, scores = labels.offsets(images), labels.scores
    rows, places = pairs_of_one_image(wanted.offsets(images), ends)
    overlap = iou_of_pairs(wanted.boxes_xyxy[rows], labels.boxes_xyxy[places])
    may_match = (overlap >= least_iou) & (wanted.labels[rows] == labels.labels[places])
    rows, places, overlap = rows[may_match], places[may_match], overlap[may_match]
    matched = match_rows(rows, places, overlap, (len(wanted.image), len(scores)), second_scores=scores)
    iou = np.zeros(len(scores), np.float32)
    iou[places[matched]] = overlap[matched]
    places, rows = pairs_of_one_image(ends, crowds.offsets(images))
    in_crowd = share_inside(labels.boxes_xyxy[places], crowds.boxes_xyxy[rows]) >= least_iou
    in_crowd &= labels.labels[places] == crowds.labels[rows]
    counted = np.ones(len(scores), bool)
    counted[places[in_crowd]] = False
    counted |= iou > 0
    return labels.labels[counted], scores[counted], iou[counted]


def true_classes_of(labels: LabelTable, truth: LabelTable, iou: float = IOU) -> np.ndarray:
    """What `true_classes` finds of the boxes of each image of a table, (A,) int64; both have the same images in order."""
    return np.concatenate([_true_classes_of_some(some, wanted, iou) for some, wanted in in_chunks(labels, truth)])


def _true_classes_of_some(labels: LabelTable, truth: LabelTable, iou: float) -> np.ndarray:
    rows, places = pairs_of_one_image(labels.offsets, truth.offsets)
    is_crowd, others = truth.is_crowd[places], truth.boxes_xyxy[places]
    overlap = np.where(is_crowd, np.float32(0), iou_of_pairs(labels.boxes_xyxy[rows], others))
    best, first = np.zeros(labels.num_boxes, np.float32), np.full(labels.num_boxes, truth.num_boxes)
    np.maximum.at(best, rows, overlap)
    is_best = overlap == best[rows]
    np.minimum.at(first, rows[is_best], places[is_best])
    background = len(truth.space)
    classes = np.where(best >= iou, np.append(truth.labels, background)[first], background)
    on_crowd = np.zeros(labels.num_boxes, bool)
    on_crowd[rows[is_crowd & (share_inside(labels.boxes_xyxy[rows], others) >= iou)]] = True
    return np.where((classes == background) & on_crowd, -1, classes)


def true_classes(boxes: LabeledBoxes, truth: LabeledBoxes, iou: float = IOU) -> Tensor:
    """(N,) int64 class of the truth box that each box overlaps most, whatever the box's own class or label space.

    A box with IoU below `iou` with all of them gets the number of truth classes, which means background, or -1 if it lies on
    a crowd box.
    """
    import torch
    from torchvision.ops import box_iou

    from lat.core.boxes import covered_share

    background = len(truth.space)
    if not len(truth) or not len(boxes):
        return torch.full((len(boxes),), background)
    overlaps = box_iou(boxes.boxes_xyxy, truth.boxes_xyxy)
    best_iou, best = torch.where(truth.weights > 0, overlaps, 0.0).max(dim=1)
    classes = torch.where(best_iou >= iou, truth.labels[best], background)
    crowds = truth[truth.weights == 0]
    on_crowd = (covered_share(boxes.boxes_xyxy, crowds.boxes_xyxy) >= iou).any(dim=1)
    return torch.where((classes == background) & on_crowd, -1, classes)
