from __future__ import annotations

import numpy as np
import pytest
import torch
from tables import PETS, row, table

from lat.baselines.class_thresholds import above_class_thresholds, class_thresholds
from lat.core.label_space import LabelSpace
from lat.data.tensors import boxes_of


def box(place: int) -> tuple[int, int, int, int]:
    """One of many boxes that do not overlap."""
    return 10 * (place % 10), 10 * (place // 10), 10 * (place % 10) + 8, 10 * (place // 10) + 8


def test_the_best_threshold_of_each_class_by_hand() -> None:
    # Cats: 4 truth boxes, detections right, wrong, right, wrong. F1 at 0.9: 2/5, 0.8: 2/6, 0.6: 4/7, 0.3: 4/8.
    # Dogs: 1 truth box; F1 at 0.7: 0, at 0.4: 2/3.
    truth = table([row(0, 0, box(i)) for i in range(4)] + [row(1, 1, box(0))])
    cats = [row(0, 0, box(0), 0.9), row(0, 0, box(20), 0.8), row(0, 0, box(1), 0.6), row(1, 0, box(0), 0.3)]
    dogs = [row(0, 1, box(2), 0.7), row(1, 1, box(0), 0.4)]
    found = table(cats + dogs)
    assert class_thresholds(found, truth).tolist() == pytest.approx([0.6, 0.4])
    assert class_thresholds([boxes_of(found, 0), boxes_of(found, 1)], truth).tolist() == pytest.approx([0.6, 0.4])
    # F_0.4 of cats = 1.16 TP / (kept + 0.16 * 4): at 0.9 1.16 / 1.64 = 0.707, at 0.6 2.32 / 3.64 = 0.637.
    assert class_thresholds(found, truth, beta=0.4)[0].item() == pytest.approx(0.9)


def test_detections_of_equal_score_are_kept_or_left_together() -> None:
    truth = table([row(0, 0, box(0)), row(0, 0, box(1))])
    # One right at 0.8; at 0.5 one right among four: F1 2/3 against 4/7.
    equal = [row(0, 0, box(1), 0.5), *(row(0, 0, box(i), 0.5) for i in (20, 21, 22))]
    found = table([*equal, row(0, 0, box(0), 0.8)])
    assert class_thresholds(found, truth)[0].item() == pytest.approx(0.8)


def test_it_is_the_best_of_all_thresholds() -> None:
    random = np.random.default_rng(0)
    truth = table([row(0, int(random.integers(2)), box(i)) for i in range(40)])
    rows = [row(0, int(random.integers(2)), box(i), round(float(random.random()), 1)) for i in random.integers(0, 80, 60)]
    found = table(rows)
    thresholds = class_thresholds(found, truth, beta=2.0)
    for k in range(2):
        places = set(map(tuple, truth.boxes_xyxy[truth.labels == k].tolist()))

        def f2(threshold: float, k: int = k, places: set[tuple[float, ...]] = places) -> float:
            kept = [tuple(b) for b in found.boxes_xyxy[(found.labels == k) & (found.scores >= threshold)].tolist()]
            return 5 * len(set(kept) & places) / (len(kept) + 4 * len(places))

        assert f2(thresholds[k].item()) == max(map(f2, found.scores.tolist()))


def test_classes_without_truth_or_without_a_right_detection_get_the_default() -> None:
    space = LabelSpace.from_names("three", ("a", "b", "c"))
    truth = table([row(0, 0, box(0)), row(0, 1, box(1)), row(0, 2, box(2), crowd=True)], space=space)
    found = table([row(0, 0, box(0), 0.9), row(0, 1, box(5), 0.9), row(1, 2, box(7), 0.9)], space=space)
    assert class_thresholds(found, truth, default=0.25).tolist() == pytest.approx([0.9, 0.25, 0.25])
    assert class_thresholds(table([], space=space), truth, default=0.25).tolist() == [0.25] * 3


def test_overlap_below_the_iou_is_wrong() -> None:
    truth = table([row(0, 0, (0, 0, 10, 10))])
    found = table([row(0, 0, (0, 0, 10, 6), 0.9)])
    assert class_thresholds(found, truth, iou=0.6, default=0.1)[0].item() == pytest.approx(0.9)
    assert class_thresholds(found, truth, iou=0.61, default=0.1)[0].item() == pytest.approx(0.1)


def test_thresholds_keep_what_they_were_chosen_for() -> None:
    found = table([row(0, 0, box(0), 0.3), row(0, 1, box(1), 0.3), row(0, 1, box(2), 0.27), row(1, 0, box(3), 0.2)])
    thresholds = torch.tensor([0.25, 0.3])
    kept = [above_class_thresholds(boxes_of(found, i), thresholds).annotation_ids.tolist() for i in range(2)]
    assert kept == [[1, 2], []]
    thinned = found.at_least(thresholds.numpy())
    assert thinned.annotation_ids.tolist() == [1, 2]
    assert thinned.offsets.tolist() == [0, 2, 2]
    assert thinned.space == PETS
