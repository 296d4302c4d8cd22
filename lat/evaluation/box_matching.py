"""Match the boxes of one image, or of many, one to one by overlap. Shape letters: N first boxes, M second boxes, P pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lat.labels.overlaps import pairs_of_one_image


@dataclass(frozen=True, eq=False)
class BoxMatches:
    """One-to-one matches between first and second boxes.

    Attributes:
        first: (P,) int64 indices 0..N-1 of the matched first boxes, ascending.
        second: (P,) int64 indices 0..M-1 of their partners.
        iou: (P,) float32 IoU of each pair.
        first_unmatched: int64 indices of the other first boxes, ascending.
        second_unmatched: int64 indices of the other second boxes, ascending.
    """

    first: np.ndarray
    second: np.ndarray
    iou: np.ndarray
    first_unmatched: np.ndarray
    second_unmatched: np.ndarray


def match_boxes(
    first_xyxy: np.ndarray,
    second_xyxy: np.ndarray,
    iou: float = 0.5,
    *,
    allowed: np.ndarray | None = None,
    second_scores: np.ndarray | None = None,
) -> BoxMatches:
    """Match boxes one to one: the pair with the highest IoU first, then the next among those still free, down to `iou`.

    Among equal pairs, lower indices come first.

    Args:
        first_xyxy: (N, 4) float32.
        second_xyxy: (M, 4) float32.
        iou: IoU threshold of a pair.
        allowed: (N, M) bool, pairs that may be matched; all by default.
        second_scores: (M,) float; if given, second boxes with higher scores choose first.
    """
    overlaps = pairwise_iou(first_xyxy, second_xyxy)
    close = overlaps >= iou
    rows, columns = np.nonzero(close if allowed is None else close & allowed)
    counts = len(first_xyxy), len(second_xyxy)
    matched = match_rows(rows, columns, overlaps[rows, columns], counts, second_scores=second_scores)
    first, second = rows[matched], columns[matched]
    return BoxMatches(
        first=first,
        second=second,
        iou=overlaps[first, second],
        first_unmatched=others_than(first, len(first_xyxy)),
        second_unmatched=others_than(second, len(second_xyxy)),
    )


def match_rows(
    first: np.ndarray,
    second: np.ndarray,
    iou: np.ndarray,
    counts: tuple[int, int],
    *,
    second_scores: np.ndarray | None = None,
) -> np.ndarray:
    """Match boxes of any number of images one to one: the pair with the highest IoU first, and so on, as in `match_boxes`.

    In rounds: a pair that comes before all others of both its boxes is a match, and the other pairs of these boxes are dropped.

    Args:
        first: (P,) int64 rows 0..N-1 of the pairs that may be matched; the pairs are in ascending order of (first, second).
        second: (P,) int64 rows 0..M-1.
        iou: (P,) of each pair.
        counts: N and M.
        second_scores: (M,) float; if given, second boxes with higher scores choose first.

    Returns:
        Indices of the matched pairs, ascending.
    """
    order = np.argsort(-iou, kind="stable")
    if second_scores is not None:
        order = order[np.argsort(-second_scores[second[order]], kind="stable")]
    matched = [np.zeros(0, np.int64)]
    best_of_first, best_of_second = (np.zeros(count, np.int64) for count in counts)
    is_free_first, is_free_second = (np.ones(count, bool) for count in counts)
    while len(order):
        best_of_first[first[order[::-1]]] = order[::-1]  # of repeated indices, the last assignment counts
        best_of_second[second[order[::-1]]] = order[::-1]
        found = order[(best_of_first[first[order]] == order) & (best_of_second[second[order]] == order)]
        is_free_first[first[found]] = is_free_second[second[found]] = False
        order = order[is_free_first[first[order]] & is_free_second[second[order]]]
        matched.append(found)
    return np.sort(np.concatenate(matched))


def others_than(rows: np.ndarray, count: int) -> np.ndarray:
    """The int64 numbers 0..count-1 that are not among `rows`, ascending."""
    is_other = np.ones(count, bool)
    is_other[rows] = False
    return np.flatnonzero(is_other)


class Rows(Protocol):
    """Boxes (N, 4) of several images; those of image i are rows `offsets[i]:offsets[i + 1]`. A `LabelTable` is one."""

    @property
    def boxes_xyxy(self) -> np.ndarray: ...

    @property
    def offsets(self) -> np.ndarray: ...


def matched_rows(first: Rows, second: Rows, iou: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (P,) int64 of boxes of the same images that match one to one, as in `match_boxes`, those of the first ascending, and
    the IoU (P,) float32 of each pair.
    """
    rows, others = pairs_of_one_image(first.offsets, second.offsets)
    overlap = iou_of_pairs(first.boxes_xyxy[rows], second.boxes_xyxy[others])
    rows, others, overlap = (column[overlap >= iou] for column in (rows, others, overlap))
    matched = match_rows(rows, others, overlap, (len(first.boxes_xyxy), len(second.boxes_xyxy)))
    return rows[matched], others[matched], overlap[matched]


def pairwise_iou(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    """IoU (N, M) of boxes (N, 4) with boxes (M, 4), as `iou_of_pairs`."""
    return iou_of_pairs(first_xyxy[:, None], second_xyxy[None])


def iou_of_pairs(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    """IoU (...) of boxes (..., 4) with boxes (..., 4), one by one, in their dtype; NaN if neither has an area.

    Same operations in the same order as `torchvision.ops.box_iou`, so the results are identical.
    """
    shared = _shared(first_xyxy, second_xyxy)
    union = _area(first_xyxy) + _area(second_xyxy) - shared
    with np.errstate(invalid="ignore"):
        result: np.ndarray = shared / union
        return result


def share_inside(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    """Share (...) of the area of each first box (..., 4) that lies in its second box (..., 4); 0 for a box without area."""
    area = np.maximum(_area(first_xyxy), np.asarray(1e-9, first_xyxy.dtype))
    result: np.ndarray = _shared(first_xyxy, second_xyxy) / area
    return result


def _shared(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    """Area that boxes (..., 4) share with boxes (..., 4)."""
    top_left = np.maximum(first_xyxy[..., :2], second_xyxy[..., :2])
    sides = np.maximum(np.minimum(first_xyxy[..., 2:], second_xyxy[..., 2:]) - top_left, 0)
    result: np.ndarray = sides[..., 0] * sides[..., 1]
    return result


def _area(boxes_xyxy: np.ndarray) -> np.ndarray:
    result: np.ndarray = (boxes_xyxy[..., 2] - boxes_xyxy[..., 0]) * (boxes_xyxy[..., 3] - boxes_xyxy[..., 1])
    return result
