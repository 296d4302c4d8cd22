"""Filters by hand numbers, and laws: chunks do not matter, seeds do."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from lat.core.errors import InputError
from lat.labelling.filters import (
    Chunk,
    ClassFilter,
    by_score,
    by_thresholds,
    class_balanced,
    count_classes,
    dars,
    kl_divergence,
    wanted_boxes,
)
from lat.labelling.labelling_settings import FilterSettings

# Ten boxes: six of class 0, three of class 1, one of class 2, and none of class 3.
SCORES = np.array([0.9, 0.5, 0.8, 0.7, 0.6, 0.4, 0.95, 0.35, 0.65, 0.3], np.float32)
LABELS = np.array([0, 0, 1, 0, 1, 0, 0, 1, 0, 2])
TEN: list[Chunk] = [(SCORES, LABELS)]
INF = float("inf")


def cut(*ends: int, scores: np.ndarray = SCORES, labels: np.ndarray = LABELS) -> list[Chunk]:
    return list(zip(np.split(scores, ends), np.split(labels, ends), strict=True))


def kept_rows(chosen: ClassFilter, chunks: list[Chunk] = TEN) -> list[int]:
    return np.flatnonzero(np.concatenate(list(chosen.masks(chunks)))).tolist()


def test_algorithm_1_on_ten_boxes() -> None:
    # The target has 20, 10, 5 and 0 boxes on 10 images; half as many an image on 4 images are 4, 2, 1 and 0.
    wanted = wanted_boxes(np.array([20, 10, 5, 0]), 10, 4, 0.5)
    assert wanted.tolist() == [4, 2, 1, 0]
    chosen = dars(TEN, wanted)
    assert chosen.thresholds.tolist() == pytest.approx([0.65, 0.6, 0.3, INF])
    assert kept_rows(chosen) == [0, 2, 3, 4, 6, 8, 9]
    assert kl_divergence(np.array([20, 10, 5, 0]), np.array([4, 2, 1, 0])) == pytest.approx(0, abs=1e-12)


def test_a_class_of_too_few_boxes_keeps_all_of_them_and_an_unwanted_one_none() -> None:
    chosen = dars(TEN, np.array([0, 2, 7, 3]))
    assert chosen.thresholds.tolist() == pytest.approx([INF, 0.6, 0.3, INF])
    assert kept_rows(chosen) == [2, 4, 9]


def test_ties_are_thinned_to_the_wanted_number_at_random() -> None:
    # 40 boxes: 5 above 0.5, 20 at 0.5, 15 below; of the 12 that are wanted 7 of 20 come from the ties: each with 0.35.
    scores = np.array([0.5] * 10 + [0.7] * 5 + [0.5] * 10 + [0.2] * 15, np.float32)
    labels = np.zeros(40, np.int64)
    chunks: list[Chunk] = [(scores, labels)]
    runs = np.array([next(dars(chunks, np.array([12]), seed).masks(chunks)) for seed in range(400)])
    assert (runs.sum(axis=1) == 12).all()
    assert runs[:, scores > 0.5].all()
    assert not runs[:, scores < 0.5].any()
    shares = runs[:, scores == 0.5].mean(axis=0)  # deviation of one: sqrt(0.35 * 0.65 / 400) = 0.024
    assert np.abs(shares - 0.35).max() < 4 * 0.024
    assert (runs[0] == next(dars(chunks, np.array([12]), 0).masks(chunks))).all()
    assert (runs[0] != runs[1]).any()
    assert len(kept_rows(dars(chunks, np.array([12]), sample_ties=False), chunks)) == 25


def test_class_balanced_keeps_the_same_share_of_each_class() -> None:
    # Half of 6, 3, 1 and 0, rounded up: 3, 2, 1, 0.
    chosen = class_balanced(TEN, 4, 0.5)
    assert chosen.thresholds.tolist() == pytest.approx([0.7, 0.6, 0.3, INF])
    assert kept_rows(chosen) == [0, 2, 3, 4, 6, 9]
    assert len(kept_rows(class_balanced(TEN, 4, 1.0))) == 10
    equal: list[Chunk] = [(np.full(20, 0.5, np.float32), np.zeros(20, np.int64))]
    assert class_balanced(equal, 1, 0.55).wanted is not None
    assert class_balanced(equal, 1, 0.55).wanted.tolist() == [11]  # type: ignore[union-attr]


def test_one_threshold_and_one_a_class() -> None:
    assert kept_rows(by_score(0.65, 4)) == [0, 2, 3, 6, 8]
    assert kept_rows(by_thresholds(np.array([0.9, 0.7, 0.5, 0.5]))) == [0, 2, 6]


def test_a_worked_divergence() -> None:
    # (1/2, 1/4, 1/4) against (3/4, 1/8, 1/8): ln(2/3) / 2 + 2 * ln(2) / 4.
    assert kl_divergence(np.array([4, 2, 2, 0]), np.array([6, 1, 1, 0])) == pytest.approx(log(2 / 3) / 2 + log(2) / 2)
    # What is kept of a class that nobody labelled takes its share: (1/2, 1/2, 0) against (1/4, 1/4, 1/2) is ln 2.
    assert kl_divergence(np.array([3, 3, 0]), np.array([1, 1, 2])) == pytest.approx(log(2))
    assert kl_divergence(np.array([1, 1]), np.array([5, 0])) == INF
    assert kl_divergence(np.array([0, 0]), np.array([5, 0])) is None


def test_shards_give_the_same_as_one_array() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 3000)
    scores = np.round(generator.random(3000), 2).astype(np.float32)  # many ties
    wanted = np.array([100, 300, 0, 1, 5000])
    whole, pieces = cut(scores=scores, labels=labels), cut(0, 7, 7, 1200, scores=scores, labels=labels.astype(np.int16))
    for chosen, again in (
        (dars(whole, wanted, 3), dars(pieces, wanted, 3)),
        (class_balanced(whole, 5, 0.3), class_balanced(pieces, 5, 0.3)),
    ):
        assert chosen.thresholds.tolist() == again.thresholds.tolist()
        assert kept_rows(chosen, whole) == kept_rows(again, pieces)
    kept = kept_rows(dars(whole, wanted, 3), whole)
    assert np.bincount(labels[kept], minlength=5).tolist() == [100, 300, 0, 1, (labels == 4).sum()]
    assert count_classes(pieces, 5).tolist() == np.bincount(labels).tolist()


def test_thresholds_are_those_of_a_sort() -> None:
    generator = np.random.default_rng(1)
    scores = (generator.random(5000) ** 8).astype(np.float32)
    scores[:3] = 0.0, -0.0, 1.0
    labels = generator.integers(0, 2, 5000)
    ordered = [np.sort(scores[labels == k])[::-1] for k in range(2)]
    for wanted in ([1, 1], [17, 2000], [len(ordered[0]), len(ordered[1])]):
        thresholds = dars([(scores, labels)], np.array(wanted)).thresholds
        assert thresholds.tolist() == [ordered[k][wanted[k] - 1] for k in range(2)]


def test_no_boxes() -> None:
    empty: list[Chunk] = [(np.zeros(0, np.float32), np.zeros(0, np.int64))]
    for chunks in ([], empty):
        chosen = dars(chunks, np.array([2, 0]))
        assert chosen.thresholds.tolist() == [INF, INF]
        assert [mask.tolist() for mask in chosen.masks(chunks)] == [[]] * len(chunks)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "best"}, r"method: is 'best'"),
        ({"share": 0.0}, r"share: is 0\.0"),
        ({"method": "class_balanced", "share": 1.5}, r"share: is 1\.5"),
        ({"temperature": True}, "temperature: is true, but method: score keeps all labels"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FilterSettings(**settings)  # type: ignore[arg-type]


def test_which_settings_keep_all_and_which_need_held_out_images() -> None:
    assert FilterSettings().keeps_all
    assert FilterSettings("class_balanced", temperature=True).needs_held_out
    assert FilterSettings("validation").needs_held_out
    assert not FilterSettings("dars").keeps_all
    assert not FilterSettings("dars").needs_held_out
