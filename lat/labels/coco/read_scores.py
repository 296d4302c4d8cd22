"""Reading class scores: whole vectors in category order, or pairs of category id and score and the sum of the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lat.core.label_space import LabelSpace
from lat.labels.class_scores import WHOLE_CLASSES, ClassScores, TopScores, scores_of_pairs
from lat.labels.coco.problems import Records

PAIRS = "its pairs must be [category id, score in 0..1], each category at most once"


def read_class_scores(records: Records, space: LabelSpace, labels: np.ndarray) -> ClassScores | None:
    """Class scores of annotations of the classes `labels` (A,); None if no annotation has any."""
    if not len(records):
        return kept_scores(np.zeros((0, len(space)), np.float32), labels)
    values = records.values("class_scores")
    if all(value is None for value in values):
        return None
    is_pairs = np.fromiter((_is_list_of_lists(value) for value in values), bool, len(values))
    nothing = [0.0] * len(space) if is_pairs.any() else None
    vectors, sound = records.number_rows("class_scores", len(space), {int(row): nothing for row in np.flatnonzero(is_pairs)})
    outside = sound & ((vectors < 0) | (vectors > 1)).any(axis=1)
    records.report(outside, lambda row: "`class_scores` leave 0..1", "they must lie in 0..1")
    scores = kept_scores(vectors.astype(np.float32), labels)
    return _with_pairs(records, space, labels, scores, values, is_pairs) if is_pairs.any() else scores


def kept_scores(vectors: np.ndarray, labels: np.ndarray) -> ClassScores:
    """What is kept of whole vectors (A, K) float32 of a file."""
    return vectors if vectors.shape[1] <= WHOLE_CLASSES else TopScores.of(vectors, labels)


def _is_list_of_lists(value: object) -> bool:
    return type(value) is list and bool(value) and type(value[0]) is list


def _with_pairs(
    records: Records, space: LabelSpace, labels: np.ndarray, scores: ClassScores, values: list[Any], is_pairs: np.ndarray
) -> ClassScores:
    """The scores, with those that the file has as pairs."""
    index_of = {category_id: i for i, category_id in enumerate(space.category_ids)}
    wrong = is_pairs & ~np.fromiter((_are_pairs(value, index_of) for value in values), bool, len(values))
    records.report(wrong, lambda row: records.shown("class_scores", row), PAIRS)
    rest, _ = records.numbers("class_scores_rest", default=0.0, null_as_default=True)
    outside = (rest < 0) | (rest > len(space))
    records.report(outside, lambda row: records.shown("class_scores_rest", row), f"it must lie in 0..{len(space)}")
    rows = np.flatnonzero(is_pairs & ~wrong)
    some = scores_of_lists([values[row] for row in rows.tolist()], rest[rows], labels[rows], index_of)
    for column, values_of_pairs in zip(_columns(scores), _columns(some), strict=True):
        column[rows] = values_of_pairs
    return scores


def scores_of_lists(
    pairs: Sequence[Sequence[Sequence[float]]], rest: np.ndarray, labels: np.ndarray, index_of: Mapping[int, int]
) -> ClassScores:
    """What is kept of valid pairs of category id and score of annotations of the classes `labels` (A,).

    Args:
        pairs: those of each annotation.
        rest: (A,) float64, the sum of all other scores.
        labels: (A,) class indices.
        index_of: the class index of each category id.
    """
    counts = np.array([len(each) for each in pairs], dtype=np.int64)
    filled = np.arange(counts.max(initial=0)) < counts[:, None]
    classes, scores = np.full(filled.shape, -1), np.zeros(filled.shape)
    classes[filled] = [index_of[int(category_id)] for each in pairs for category_id, _ in each]
    scores[filled] = [score for each in pairs for _, score in each]
    return scores_of_pairs(classes, scores, rest, labels, len(index_of))


def _columns(scores: ClassScores) -> tuple[np.ndarray, ...]:
    return tuple(scores.columns().values()) if isinstance(scores, TopScores) else (scores,)


def _are_pairs(value: Any, known: dict[int, int]) -> bool:
    """Whether a list holds pairs of a known category id and a score in 0..1, each category at most once."""
    if not _is_list_of_lists(value) or not all(type(pair) is list and len(pair) == 2 for pair in value):
        return False
    ids, scores = zip(*value, strict=True)
    if not all(type(one) is int and one in known for one in ids) or len(set(ids)) < len(ids):
        return False
    return all(type(score) in (int, float) and 0 <= score <= 1 for score in scores)
