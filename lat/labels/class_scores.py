"""Class scores of annotations: whole vectors in small label spaces, the highest ones and the sum of the rest in large ones.

With 1,203 classes a vector takes 4.8 kB, of which next to nothing says anything; its 16 highest scores take 132 bytes. Vectors of
up to 64 classes are kept whole, at 256 bytes at most, so that nothing of them is lost.
Shape letters: A annotations, K classes, C classes that are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

SCORE_DECIMALS = 6
WHOLE_CLASSES = 64
"""Vectors of label spaces with more classes are reduced."""
TOP_CLASSES = 16
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class TopScores:
    """The highest class scores of annotations, best first, that of an annotation's own class always among them.

    Attributes:
        classes: (A, C) int32 class indices; -1 where there are fewer scores.
        scores: (A, C) float32 in [0, 1]; 0 where there are fewer.
        rest: (A,) float32, the sum of all other scores.
        num_classes: of the label space.
    """

    classes: np.ndarray
    scores: np.ndarray
    rest: np.ndarray
    num_classes: int

    def __len__(self) -> int:
        return len(self.rest)

    def __getitem__(self, rows: np.ndarray | slice) -> TopScores:
        return TopScores(self.classes[rows], self.scores[rows], self.rest[rows], self.num_classes)

    def columns(self) -> dict[str, np.ndarray]:
        """The three columns by name."""
        return {"classes": self.classes, "scores": self.scores, "rest": self.rest}

    @classmethod
    def of(cls, vectors: np.ndarray, labels: np.ndarray) -> TopScores:
        """The highest scores of whole vectors (A, K), with 6 decimals, for annotations of the classes `labels` (A,)."""
        count = min(TOP_CLASSES, vectors.shape[1])
        classes, scores = np.full((len(vectors), count), -1, np.int32), np.zeros((len(vectors), count))
        rest = np.zeros(len(vectors))
        for first in range(0, len(vectors), _ROWS_AT_ONCE):
            some = slice(first, first + _ROWS_AT_ONCE)
            classes[some], scores[some], rest[some] = _highest(np.asarray(vectors[some], np.float64), labels[some], count)
        return cls(classes, scores.astype(np.float32), rest.astype(np.float32), vectors.shape[1])

    def dense(self) -> np.ndarray:
        """Whole vectors (A, K) float32, in which the rest is spread evenly over the classes that are not kept."""
        is_kept = self.classes >= 0
        others = self.num_classes - is_kept.sum(axis=1)
        share = np.minimum(self.rest / np.maximum(others, 1), 1.0).astype(np.float32)
        vectors = np.repeat(share[:, None], self.num_classes, axis=1)
        rows, places = np.nonzero(is_kept)
        vectors[rows, self.classes[rows, places]] = self.scores[rows, places]
        return vectors


ClassScores: TypeAlias = "np.ndarray | TopScores"
"""Whole vectors (A, K) float32 of up to 64 classes, or the highest scores of more."""


def class_scores_of(vectors: np.ndarray, labels: np.ndarray) -> ClassScores:
    """What is kept of vectors (A, K) of scores of annotations of the classes `labels` (A,), with 6 decimals."""
    if vectors.shape[1] > WHOLE_CLASSES:
        return TopScores.of(vectors, labels)
    return np.round(np.asarray(vectors, np.float64), SCORE_DECIMALS).astype(np.float32)


def dense_scores(scores: ClassScores) -> np.ndarray:
    """Whole vectors (A, K) float32."""
    return scores.dense() if isinstance(scores, TopScores) else scores


def _highest(vectors: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes (A, C), scores (A, C) and the rest (A,) of vectors (A, K) float64.

    Of equal scores, the first classes are taken. Scores that are 0 with 6 decimals are left out, other than of the own class.
    """
    rows = np.arange(len(vectors))
    exact, vectors = vectors, np.round(vectors, SCORE_DECIMALS)
    chosen_first = vectors.copy()
    chosen_first[rows, labels] = np.inf
    lowest = np.partition(chosen_first, -count, axis=1)[:, -count, None]
    above, equal = chosen_first > lowest, chosen_first == lowest
    chosen = above | (equal & (np.cumsum(equal, axis=1) <= count - above.sum(axis=1, keepdims=True)))
    classes = np.nonzero(chosen)[1].reshape(len(vectors), count)
    scores = np.take_along_axis(vectors, classes, axis=1)
    rest = np.round(np.maximum(np.where(chosen, 0.0, exact).sum(axis=1), 0.0), SCORE_DECIMALS)
    left_out = (scores == 0) & (classes != labels[:, None])
    order = np.lexsort((classes, left_out, -scores))
    classes, scores = (np.take_along_axis(each, order, axis=1) for each in (np.where(left_out, -1, classes), scores))
    return classes, scores, rest


def written_scores(scores: ClassScores, category_ids: np.ndarray) -> dict[str, list[Any]]:
    """The columns of a file: whole vectors, or pairs of category id and score, and `class_scores_rest`."""
    if not isinstance(scores, TopScores):
        return {"class_scores": np.round(scores.astype(np.float64), SCORE_DECIMALS).tolist()}
    ids = category_ids[scores.classes].tolist()
    values = np.round(scores.scores.astype(np.float64), SCORE_DECIMALS).tolist()
    counts = (scores.classes >= 0).sum(axis=1).tolist()
    pairs = [[list(pair) for pair in zip(i[:n], v[:n], strict=True)] for i, v, n in zip(ids, values, counts, strict=True)]
    return {"class_scores": pairs, "class_scores_rest": np.round(scores.rest.astype(np.float64), SCORE_DECIMALS).tolist()}


def scores_of_pairs(
    classes: np.ndarray, scores: np.ndarray, rest: np.ndarray, labels: np.ndarray, num_classes: int
) -> ClassScores:
    """What is kept of pairs of class and score in any order, for annotations of the classes `labels` (A,).

    Args:
        classes: (A, P) class indices, -1 where there are fewer pairs.
        scores: (A, P) float64, 0 where there are fewer pairs.
        rest: (A,) float64, the sum of all other scores.
        labels: (A,) class indices.
        num_classes: of the label space.
    """
    count = num_classes if num_classes <= WHOLE_CLASSES else TOP_CLASSES
    own = classes == labels[:, None]
    order = np.lexsort((classes, -scores, classes < 0, ~own))  # the own class first, so that it stays
    classes, scores = (np.take_along_axis(each, order, axis=1) for each in (classes, scores))
    rest = rest + scores[:, count:].sum(axis=1)
    classes, scores = classes[:, :count], scores[:, :count]
    order = np.lexsort((classes, classes < 0, -scores))
    classes, scores = (np.take_along_axis(each, order, axis=1) for each in (classes, scores))
    missing = ((0, 0), (0, max(count - classes.shape[1], 0)))
    classes, scores = np.pad(classes, missing, constant_values=-1), np.pad(scores, missing)
    top = TopScores(classes.astype(np.int32), scores.astype(np.float32), rest.astype(np.float32), num_classes)
    return top.dense() if num_classes <= WHOLE_CLASSES else top


def one_hot(labels: np.ndarray, num_classes: int) -> ClassScores:
    """Score 1 for the class of each annotation."""
    return class_scores_of(labels[:, None] == np.arange(num_classes), labels)


def joined_scores(first: ClassScores, second: ClassScores) -> ClassScores:
    """The rows of both, which are of one label space."""
    if isinstance(first, TopScores) and isinstance(second, TopScores):
        others = second.columns()
        columns = {name: np.concatenate([column, others[name]]) for name, column in first.columns().items()}
        return TopScores(**columns, num_classes=first.num_classes)
    assert isinstance(first, np.ndarray)
    return np.concatenate([first, second])
