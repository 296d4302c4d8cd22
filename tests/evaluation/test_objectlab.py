"""ObjectLab's scores against numbers worked out by hand, and against the package that its authors keep."""

from __future__ import annotations

import numpy as np
import pytest
from factories import label_space
from tables import row, table

from lat.data.tensors import boxes_of
from lat.evaluation.objectlab import lowest_similarity, objectlab_scores, soft_minimum
from lat.labels.table import LabelTable

SPACE = label_space("space", ("a", "b", "c"))


def random_tables(generator: np.random.Generator, images: int) -> tuple[LabelTable, LabelTable]:
    """Labels, and predictions that are mostly near them; some images have none of either."""
    labels, predictions = [], []
    for image in range(images):
        for _ in range(generator.integers(0, 5)):
            corner, sides = generator.uniform(0, 60, 2), generator.uniform(8, 35, 2)
            box, label = np.concatenate([corner, corner + sides]), int(generator.integers(3))
            labels.append(row(image, label, box))
            if generator.random() < 0.2:
                labels.append(row(image, (label + 1) % 3, box + 0.1))
            if generator.random() < 0.8:
                other = label if generator.random() < 0.7 else int(generator.integers(3))
                predictions.append(row(image, other, box + generator.normal(0, 1, 4), generator.uniform(0.3, 1)))
        if generator.random() < 0.5:
            predictions.append(row(image, int(generator.integers(3)), (90, 90, 99, 98), 0.99))
    ids = tuple(range(1, images + 1))
    return table(labels, ids, SPACE), table(predictions, ids, SPACE)


def test_against_cleanlab() -> None:
    rank = pytest.importorskip("cleanlab.object_detection.rank")
    labels, predictions = random_tables(np.random.default_rng(3), 60)
    given = [
        {"bboxes": boxes_of(labels, i).boxes_xyxy.double().numpy(), "labels": boxes_of(labels, i).labels.numpy()}
        for i in range(60)
    ]
    found = []
    for i in range(60):
        boxes = boxes_of(predictions, i)
        columns = np.concatenate([boxes.boxes_xyxy.double().numpy(), boxes.scores.double().numpy()[:, None]], axis=1)
        found.append([columns[boxes.labels.numpy() == label] for label in range(3)])
    ours = objectlab_scores(labels, predictions, lowest_similarity(labels, predictions))
    np.testing.assert_allclose(
        ours.badly_located, np.concatenate(rank.compute_badloc_box_scores(labels=given, predictions=found)), atol=1e-6
    )
    np.testing.assert_allclose(
        ours.swapped, np.concatenate(rank.compute_swap_box_scores(labels=given, predictions=found)), atol=1e-6
    )
    theirs = np.concatenate(rank.compute_overlooked_box_scores(labels=given, predictions=found))
    by_class = np.concatenate(
        [predictions.rows(i).start + np.argsort(boxes_of(predictions, i).labels, kind="stable") for i in range(60)]
    )
    np.testing.assert_allclose(ours.overlooked[by_class], theirs, atol=1e-6)
    assert 0 < np.isfinite(theirs).sum() < len(theirs)
    pooled = rank.pool_box_scores_per_image(rank.compute_badloc_box_scores(labels=given, predictions=found))
    np.testing.assert_allclose(soft_minimum(ours.badly_located, labels.offsets), pooled, atol=1e-6)


def test_a_label_half_off_its_prediction_is_badly_located() -> None:
    labels = table([row(0, 0, (0, 0, 10, 10))], (1,), SPACE)
    predictions = table([row(0, 0, (0, 0, 10, 20), 0.9)], (1,), SPACE)
    scores = objectlab_scores(labels, predictions, lowest_similarity(labels, predictions))
    assert scores.badly_located.tolist() == pytest.approx([0.9 * 0.5 + 0.1 * np.exp(-0.5)])
    assert scores.swapped.tolist() == [1.0]
    assert np.isnan(scores.overlooked).all()


def test_a_sure_prediction_of_another_class_marks_a_swap() -> None:
    labels = table([row(0, 0, (0, 0, 10, 10)), row(0, 0, (50, 50, 60, 60))], (1,), SPACE)
    predictions = table([row(0, 1, (0, 0, 10, 10), 0.99)], (1,), SPACE)
    swapped = objectlab_scores(labels, predictions, lowest_similarity(labels, predictions)).swapped
    assert swapped[0] < 0.05 < 0.95 < swapped[1]


def test_the_soft_minimum_leans_to_the_lowest_score_and_is_one_where_there_is_none() -> None:
    low, none = soft_minimum(np.array([0.1, 0.9, np.nan]), np.array([0, 2, 3]))
    assert low == pytest.approx((0.1 + 0.9 * np.exp(-8)) / (1 + np.exp(-8)))
    assert none == 1.0
