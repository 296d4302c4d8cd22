"""Match the boxes of one image one to one by overlap. Shape letters: N first boxes, M second boxes, P pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
    order = np.argsort(-overlaps[rows, columns], kind="stable")
    if second_scores is not None:
        order = order[np.argsort(-second_scores[columns[order]], kind="stable")]
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in partner and column not in taken:
            partner[row] = column
            taken.add(column)
    first = np.array(sorted(partner), np.int64)
    second = np.array([partner[row] for row in first.tolist()], np.int64)
    return BoxMatches(
        first=first,
        second=second,
        iou=overlaps[first, second],
        first_unmatched=np.setdiff1d(np.arange(len(first_xyxy)), first),
        second_unmatched=np.setdiff1d(np.arange(len(second_xyxy)), second),
    )


def pairwise_iou(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    """IoU (N, M) of boxes (N, 4) with boxes (M, 4), in their dtype; NaN if neither has an area.

    Same operations in the same order as `torchvision.ops.box_iou`, so the results are identical.
    """
    shared = _intersection(first_xyxy, second_xyxy)
    union = _area(first_xyxy)[:, None] + _area(second_xyxy)[None] - shared
    with np.errstate(invalid="ignore"):
        result: np.ndarray = shared / union
        return result


def share_inside(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    """Share (N, M) of the area of each first box (N, 4) that lies in each second box (M, 4); 0 for a box without area."""
    area = np.maximum(_area(first_xyxy), np.asarray(1e-9, first_xyxy.dtype))
    result: np.ndarray = _intersection(first_xyxy, second_xyxy) / area[:, None]
    return result


def _intersection(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    top_left = np.maximum(first_xyxy[:, None, :2], second_xyxy[None, :, :2])
    sides = np.maximum(np.minimum(first_xyxy[:, None, 2:], second_xyxy[None, :, 2:]) - top_left, 0)
    result: np.ndarray = sides[..., 0] * sides[..., 1]
    return result


def _area(boxes_xyxy: np.ndarray) -> np.ndarray:
    result: np.ndarray = (boxes_xyxy[:, 2] - boxes_xyxy[:, 0]) * (boxes_xyxy[:, 3] - boxes_xyxy[:, 1])
    return result
