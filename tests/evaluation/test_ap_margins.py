"""The margins of AP against shares worked out by hand, and against a bootstrap over images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tables import PETS, row, table
from test_detection_ap import A, B, random_tables

from lat.evaluation.detection_ap import ApResult, detection_ap
from lat.labels import chunks
from lat.labels.table import LabelTable

FOUND, ODD = (10, 10, 30, 30), (60, 60, 80, 80)


def of_images(truth: list[list], labels: list[list]) -> ApResult:
    """The result of rows as lists by image; each is (class, box, score)."""
    ids = range(1, len(truth) + 1)
    tables = [table([row(i, *one) for i, rows in enumerate(side) for one in rows], ids) for side in (truth, labels)]
    return detection_ap(*tables)


def test_images_that_are_all_alike_leave_no_doubt():
    # In each image, one box of two is found, below a wrong label: AP is 50 * 1/2 whatever images are drawn.
    result = of_images([[(0, A), (0, B)]] * 6, [[(0, ODD, 0.9), (0, A, 0.5)]] * 6)
    assert result.ap == pytest.approx(25, abs=0.3)  # at 51 of 101 recall levels
    assert result.ap_margin == pytest.approx(0, abs=1e-9)
    assert result.per_class_margin == {"cat": pytest.approx(0, abs=1e-9), "dog": None}


@pytest.mark.parametrize(("images", "found"), [(10, 5), (40, 10)])
def test_one_box_an_image_is_a_share_of_images(images, found):
    # AP is the share p that is found: its standard error is sqrt(p (1 - p) / (n - 1)).
    result = of_images([[(0, A)]] * images, [[(0, A)] if i < found else [] for i in range(images)])
    share = found / images
    assert result.ap_margin == pytest.approx(196 * np.sqrt(share * (1 - share) / (images - 1)))
    assert (result.ap50_margin, result.per_class_margin["cat"]) == (pytest.approx(result.ap_margin),) * 2


def test_a_class_that_always_is_found_halves_the_margin_of_the_mean():
    truth = [[(0, A), (1, B)]] * 8
    one = of_images(truth, [[(0, A), *([(1, B)] if i < 4 else [])] for i in range(8)])
    assert one.per_class_margin == {"cat": pytest.approx(0, abs=1e-9), "dog": pytest.approx(2 * one.ap_margin)}
    both = of_images(truth, [[(0, A), (1, B)] if i < 4 else [] for i in range(8)])  # the same images lack both
    assert both.ap_margin == pytest.approx(both.per_class_margin["cat"])


def test_an_overlap_reached_at_some_thresholds_counts_there():
    # 20 x 20 against its lower 20 x 15.2 part reaches six of ten thresholds: there all are found, at four others half of them.
    result = of_images([[(0, A)]] * 10, [[(0, A if i < 5 else (10, 14.8, 30, 30))] for i in range(10)])
    assert result.ap50_margin == pytest.approx(0, abs=1e-9)
    assert result.ap_margin == pytest.approx(0.4 * 196 * np.sqrt(0.25 / 9))


def test_of_two_labels_on_a_box_the_surer_one_is_right():
    # At IoU 0.50 the surer label is right; the other fits better, and is wrong below all that are right, where it costs nothing.
    twice = [(0, (10, 14.8, 30, 30), 0.9), (0, A, 0.4)]
    result = of_images([[(0, A)]] * 10, [twice if i < 5 else [] for i in range(10)])
    assert result.ap50_margin == pytest.approx(196 * np.sqrt(0.25 / 9))


def test_four_times_the_images_halve_the_margin():
    truth, labels = random_tables(0)
    few, many = detection_ap(truth, labels), detection_ap(repeated(truth, 4), repeated(labels, 4))
    small_sample = (30 / 29) / (120 / 119)
    for name in ("ap_margin", "ap50_margin"):
        assert getattr(few, name) == pytest.approx(2 * np.sqrt(small_sample) * getattr(many, name), rel=0.02), name


def test_labels_in_a_crowd_add_no_doubt():
    crowd = [row(i, 0, (40, 40, 100, 100), crowd=True) for i in range(10)]
    truth = [row(i, 0, FOUND) for i in range(10)]
    labels = [row(i, 0, FOUND, 0.5) for i in range(5)]
    inside = [row(i, 0, (60, 60, 70, 70), 0.9) for i in range(0, 10, 3)]
    plain = detection_ap(table(truth, range(10)), table(labels, range(10)))
    assert detection_ap(table([*truth, *crowd], range(10)), table([*labels, *inside], range(10))).ap_margin == plain.ap_margin
    assert detection_ap(table(truth, range(10)), table([*labels, *inside], range(10))).ap_margin != plain.ap_margin


def test_few_images_tell_nothing():
    four = [[(0, A)]] * 4
    assert of_images(four, [[]] * 4).ap_margin is None
    enough = of_images([*four, [(0, A), (1, B)]], [[]] * 5)
    assert enough.ap_margin == 0  # nothing is found on any
    assert enough.per_class_margin == {"cat": 0, "dog": None}
    assert (of_images([[]] * 9, [[(0, A)]] * 9).ap_margin, of_images([[]] * 9, [[]] * 9).ap50_margin) == (None, None)


@pytest.mark.parametrize("seed", range(3))
def test_a_bootstrap_over_images_scatters_as_much(seed, monkeypatch):
    truth, labels = scenes(seed, 60)
    result, random = detection_ap(truth, labels), np.random.default_rng(seed)
    draws = [random.integers(0, 60, 60) for _ in range(300)]
    drawn = [detection_ap(renumbered(truth.select(rows)), renumbered(labels.select(rows))) for rows in draws]
    assert 20 < result.ap < 90
    for figure, margin in (("ap", result.ap_margin), ("ap50", result.ap50_margin)):
        assert 1.96 * np.std([getattr(one, figure) for one in drawn]) == pytest.approx(margin, rel=0.15), figure
    for name in PETS.class_names:
        assert 1.96 * np.std([one.per_class[name] for one in drawn]) == pytest.approx(result.per_class_margin[name], rel=0.2)
    monkeypatch.setattr(chunks, "IMAGES_AT_ONCE", 7)
    assert detection_ap(truth, labels) == result


def scenes(seed: int, images: int) -> tuple[LabelTable, LabelTable]:
    """Images of which some are harder: boxes are found or not, drawn more or less well, and mistaken, together."""
    random = np.random.default_rng(seed)
    truth, labels = [], []
    for image in range(images):
        skill = random.uniform(0.2, 1)
        for _ in range(random.integers(0, 9)):
            x, y, w, h = random.uniform(15, 40, 4)
            k = int(random.integers(0, 2))
            truth.append(row(image, k, (x, y, x + w, y + h)))
            dx, dy = random.normal(0, 3 * (1.1 - skill), 2)
            if random.random() < skill:
                labels.append(row(image, k, (x + dx, y + dy, x + w + dx, y + h), random.beta(2 + 3 * skill, 2)))
            if random.random() < 0.4 * (1 - skill):
                labels.append(row(image, 1 - k, (x, y, x + w, y + h), random.beta(2, 2)))
    return table(truth, range(images)), table(labels, range(images))


def repeated(one: LabelTable, times: int) -> LabelTable:
    """Every image as often, one after another."""
    return renumbered(one.select(np.repeat(np.arange(len(one)), times)))


def renumbered(one: LabelTable) -> LabelTable:
    """The same with ids of its own for each image, in order."""
    from dataclasses import replace

    return replace(one, image_ids=np.arange(len(one)), path=Path("drawn.json"))
