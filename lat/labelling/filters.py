"""Filter a whole set of labels class by class: one threshold, balanced classes, chosen thresholds, or DARS.

A filter first looks at all labels and chooses a threshold per class, then decides which labels to keep. Both passes go over
chunks, (scores, labels) columns of many boxes each. The n-th highest score of a class is found by counting the bits of scores,
not by sorting, so that memory does not grow with the number of boxes.

Shape letters: B boxes of a chunk, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Chunk = tuple[np.ndarray, np.ndarray]  # scores (B,) float32 in [0, 1], and labels (B,) of an integer type, 0..K-1

_DIGIT_BITS = 10  # as integers, float32 scores in [0, 1] are below 2^30, three digits, and have the same order
_DIGITS = 3
_BASE = 1 << _DIGIT_BITS


@dataclass(frozen=True, eq=False)
class ClassFilter:
    """What a filter decided about a set of labels.

    Attributes:
        thresholds: (K,) float32; labels of this score or more are kept; infinite for classes that keep none.
        wanted: (K,) int64 labels that were wanted, or None where the method names no number.
        ties: (K,) int64 labels at the threshold of their class of which only `kept_ties` are kept; 0 where all are.
        kept_ties: (K,) int64.
        seed: of the random choice among ties.
    """

    thresholds: np.ndarray
    wanted: np.ndarray | None = None
    ties: np.ndarray | None = None
    kept_ties: np.ndarray | None = None
    seed: int = 0

    def masks(self, chunks: Sequence[Chunk]) -> Iterator[np.ndarray]:
        """For each chunk (B,) bool: the labels that are kept.

        Args:
            chunks: the labels for which the filter was made, in the same order, but cut anywhere.
        """
        drawn = {} if self.ties is None else {int(k): self._draw(int(k)) for k in np.flatnonzero(self.ties)}
        for scores, labels in chunks:
            thresholds = self.thresholds[labels]
            kept = scores >= thresholds
            tied = np.flatnonzero(scores == thresholds) if drawn else np.zeros(0, np.int64)
            for k, lots in drawn.items():
                rows = tied[labels[tied] == k]
                kept[rows], drawn[k] = lots[: len(rows)], lots[len(rows) :]
            yield kept

    def _draw(self, k: int) -> np.ndarray:
        """(ties,) bool: which tied labels of class `k` are kept, in box order."""
        assert self.ties is not None
        assert self.kept_ties is not None
        order = np.random.default_rng([self.seed, k]).permutation(self.ties[k])
        result: np.ndarray = order < self.kept_ties[k]
        return result


def by_score(threshold: float, num_classes: int) -> ClassFilter:
    """One threshold for all classes (ST)."""
    return ClassFilter(np.full(num_classes, threshold, np.float32))


def by_thresholds(thresholds: np.ndarray) -> ClassFilter:
    """A threshold (K,) for each class, as chosen on held-out images."""
    return ClassFilter(np.asarray(thresholds, np.float32))


def class_balanced(chunks: Sequence[Chunk], num_classes: int, share: float) -> ClassFilter:
    """The surest `share` of each class's labels, rounded up; ties with the last one are kept too.

    Source: Zou et al., Unsupervised Domain Adaptation for Semantic Segmentation via Class-Balanced Self-Training (2018).
    """
    wanted = np.ceil(np.round(share * count_classes(chunks, num_classes), 6)).astype(np.int64)
    return ClassFilter(_highest(chunks, wanted)[0], wanted)


def dars(chunks: Sequence[Chunk], wanted: np.ndarray, seed: int = 0, *, sample_ties: bool = True) -> ClassFilter:
    """As many labels of each class as are wanted, the surest ones; all of a class that has fewer.

    The threshold t_j is the score of the n_j-th surest label of class j. Confident detectors give many labels one score, so
    that more than n_j reach t_j. Algorithm 1 then thins all that reach it by n_j / (their number). Here labels above t_j stay,
    and of those at t_j each is kept with the same probability, (n_j - number above) / (number at t_j), just n_j in all: the
    same number, of higher scores, and the same thing where all scores are equal.

    Args:
        chunks: the labels; read several times.
        wanted: (K,) int64 n_j, as of `wanted_boxes`.
        seed: of the random choice.
        sample_ties: False keeps all ties: distribution alignment alone (DA).

    Source: DARS, section 3.2 (equation 4 and Algorithm 1), with boxes instead of pixels.
    """
    thresholds, above, ties = _highest(chunks, wanted)
    if not sample_ties:
        return ClassFilter(thresholds, wanted)
    left = np.maximum(wanted - above, 0)
    is_thinned = np.isfinite(thresholds) & (ties > left)
    return ClassFilter(thresholds, wanted, np.where(is_thinned, ties, 0), np.where(is_thinned, left, 0), seed)


def wanted_boxes(counts: np.ndarray, labelled_images: int, images: int, labelling_ratio: float) -> np.ndarray:
    """(K,) int64 labels wanted of each class on `images` images: labelling ratio * images * boxes of the class per image.

    Args:
        counts: (K,) ground-truth boxes of each class of the target.
        labelled_images: number of images on which these are.
        images: number of images that are labelled anew.
        labelling_ratio: above 0; 0.5 wants half as many boxes per image as the target has.

    Source: DARS, equation 4.
    """
    return np.rint(labelling_ratio * images * np.asarray(counts) / labelled_images).astype(np.int64)


def kl_divergence(labelled: np.ndarray, kept: np.ndarray) -> float | None:
    """Kullback-Leibler divergence, in nats, of the distribution of the kept labels from that of the labelled boxes.

    D(labelled || kept) = sum over classes of p log(p / q); classes without labelled boxes add nothing.

    Args:
        labelled: (K,) counts of the target's ground truth; p are its shares.
        kept: (K,) counts of the kept labels; q are its shares.

    Returns:
        0 or more; infinite if no label of a labelled class is kept; None if nothing is labelled.

    Source: DARS, equation 3 and Table 5.
    """
    labelled, kept = np.asarray(labelled, np.float64), np.asarray(kept, np.float64)
    occurs = labelled > 0
    if not occurs.any():
        return None
    if (kept[occurs] == 0).any():
        return float("inf")
    p, q = labelled[occurs] / labelled.sum(), kept[occurs] / kept.sum()
    return max(0.0, float((p * np.log(p / q)).sum()))


def count_classes(chunks: Sequence[Chunk], num_classes: int) -> np.ndarray:
    """(K,) int64 labels of each class."""
    return sum((np.bincount(labels, minlength=num_classes) for _, labels in chunks), np.zeros(num_classes, np.int64))


def _highest(chunks: Sequence[Chunk], wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each class, the `wanted`-th highest score (K,) float32, and the numbers of labels above it and at it, (K,) int64 each.

    The lowest score if a class has fewer labels; infinite if none is wanted or it has none. Non-negative float32 scores have the
    same order when read as integers; each pass over the chunks finds one more digit of these.
    """
    num_classes = len(wanted)
    found, above = np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64)
    ties = count_classes(chunks, num_classes)
    wanted = np.minimum(wanted, ties)
    for digit in range(_DIGITS):
        counts = _count_digits(chunks, found, digit)
        higher = counts[:, ::-1].cumsum(axis=1)[:, ::-1] - counts  # labels of a higher digit, all before being equal
        left = (wanted - above)[:, None]
        fits = (higher < left) & (higher + counts >= left)
        place = np.where(fits.any(axis=1), fits.argmax(axis=1), 0)
        rows = np.arange(num_classes)
        above, ties = above + higher[rows, place] * (wanted > 0), counts[rows, place]
        found = (found << _DIGIT_BITS) | place
    exists = wanted > 0
    thresholds = np.where(exists, found.astype(np.int32).view(np.float32), np.float32(np.inf))
    return thresholds, above, np.where(exists, ties, 0)


def _count_digits(chunks: Sequence[Chunk], found: np.ndarray, digit: int) -> np.ndarray:
    """(K, base) int64 number of labels of each class whose first `digit` digits equal `found` (K,), by their next digit."""
    counts = np.zeros(len(found) * _BASE, np.int64)
    shift = _DIGIT_BITS * (_DIGITS - 1 - digit)
    for scores, labels in chunks:
        bits = _bits(scores) >> shift
        columns = np.asarray(labels, np.int32)
        if digit:
            same = (bits >> _DIGIT_BITS) == found.astype(np.int32)[columns]
            bits, columns = bits[same], columns[same]
        counts += np.bincount(columns * _BASE + (bits & (_BASE - 1)), minlength=len(counts))
    return counts.reshape(len(found), _BASE)


def _bits(scores: np.ndarray) -> np.ndarray:
    """Scores (B,) as integers in the same order; -0 becomes 0."""
    return (np.ascontiguousarray(scores, np.float32) + np.float32(0)).view(np.int32)
