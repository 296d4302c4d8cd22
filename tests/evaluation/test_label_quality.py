"""Labels against truth at a threshold, and the matching behind it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tables import row, table
from test_detection_ap import random_tables

from lat.core.errors import InputError
from lat.data.tensors import boxes_of
from lat.evaluation.detection_ap import detection_ap
from lat.evaluation.label_quality import label_quality, scored_hits, true_classes, true_classes_of
from lat.labels.table import LabelTable

A, B, C = (10, 10, 30, 30), (50, 50, 90, 70), (0, 80, 10, 90)
A_LOW = (10, 14, 30, 30)  # IoU with A: 0.8


def test_figures_by_hand() -> None:
    truth = table([row(0, 0, A), row(0, 1, B), row(1, 0, A), row(1, 0, C)])
    labels = table(
        [
            row(0, 0, A, 0.9),  # right, IoU 1
            row(0, 0, B, 0.8),  # of the other class
            row(1, 0, A_LOW, 0.7),  # right, IoU 0.8
            row(1, 0, C, 0.4),  # right, IoU 1, below the threshold
        ]
    )
    quality = label_quality(truth, labels, 0.5)
    assert quality.precision == pytest.approx(2 / 3)
    assert quality.recall == pytest.approx(2 / 4)
    assert quality.f1 == pytest.approx(2 * 2 / (3 + 4))
    assert quality.mean_iou == pytest.approx(0.9)
    # Four labels are four bins: 0.1 + 0.8 + 0.3 + 0.6 over 4.
    assert quality.ece == pytest.approx(1.8 / 4)
    assert (quality.f1_best, quality.threshold_best) == (pytest.approx(2 * 3 / 8), pytest.approx(0.4))
    # Sum of scores 2.8: 1.8 / 3.8, 3.4 / 4.8, 4.8 / 5.8 = 0.8276, 5.6 / 6.8 = 0.8235; the third label is the last to be kept.
    assert quality.threshold_chosen == pytest.approx(0.7)
    assert quality.f1_chosen == pytest.approx(2 * 2 / (3 + 4))
    assert label_quality(truth, labels, quality.threshold_best).f1 == quality.f1_best
    assert label_quality(truth, labels, quality.threshold_chosen).f1 == quality.f1_chosen


def test_the_surer_label_takes_the_box_though_another_fits_better() -> None:
    found = scored_hits(table([row(0, 0, A)]), table([row(0, 0, A, 0.6), row(0, 0, A_LOW, 0.9)]))
    assert found.iou.tolist() == [0, pytest.approx(0.8)]
    equal = scored_hits(table([row(0, 0, A)]), table([row(0, 0, A_LOW, 0.9), row(0, 0, A, 0.9)]))
    assert equal.iou.tolist() == [0, 1]


def test_labels_of_lower_score_change_nothing_above_them() -> None:
    truth, labels = random_tables(5)
    found = scored_hits(truth, labels)
    for threshold in (0.3, 0.6, 0.9):
        above = scored_hits(truth, labels.at_least(threshold))
        kept = found.scores >= threshold
        assert above.scores.tolist() == found.scores[kept].tolist()
        assert above.iou.tolist() == found.iou[kept].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_hits_are_those_of_average_precision(seed: int) -> None:
    truth, labels = random_tables(seed)
    for k, name in enumerate(truth.space.class_names):
        of_class = [only(table, k) for table in (truth, labels)]
        found = scored_hits(*of_class)
        expected = detection_ap(*of_class).ap50
        if expected is None:
            assert found.truth == 0, name
            continue
        hits = found.hits[np.argsort(-found.scores, kind="stable")].cumsum()
        precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
        at = np.searchsorted(hits / found.truth, np.linspace(0, 1, 101))
        levels = [precision[i] if i < len(precision) else 0.0 for i in at]
        assert 100 * np.mean(levels) == pytest.approx(expected, abs=1e-6)


def only(labels: LabelTable, k: int) -> LabelTable:
    """The table with the boxes of class k alone."""
    kept = labels.labels == k
    return labels._with_annotations(np.flatnonzero(kept), np.concatenate([[0], np.cumsum(kept)])[labels.offsets])


def test_labels_in_a_crowd_of_their_class_are_left_out() -> None:
    truth = table([row(0, 0, A), row(0, 0, (40, 40, 100, 100), crowd=True)])
    half_inside = row(0, 0, (30, 60, 50, 80), 0.9)  # 10 of its 20 columns
    less = row(0, 0, (29, 60, 49, 80), 0.9)
    other_class = row(0, 1, (60, 60, 70, 70), 0.9)
    right = row(0, 0, A, 0.8)
    assert label_quality(truth, table([right, half_inside]), 0.5).precision == 1
    assert label_quality(truth, table([right, half_inside]), 0.5).recall == 1
    assert label_quality(truth, table([right, less, other_class]), 0.5).precision == pytest.approx(1 / 3)
    assert label_quality(truth, table([right, row(0, 0, C, crowd=True)]), 0.5).precision == 1


def test_what_is_undefined_is_none_and_json_takes_it() -> None:
    some, none = table([row(0, 1, A, 0.7)]), table([])
    missed, needless, nothing = label_quality(some, none, 0.5), label_quality(none, some, 0.5), label_quality(none, none, 0.5)
    assert (missed.precision, missed.recall, missed.f1, missed.f1_best, missed.f1_chosen) == (None, 0, 0, 0, 0)
    assert (missed.ece, missed.mean_iou, missed.threshold_best, missed.threshold_chosen) == (None, None, None, None)
    assert (needless.precision, needless.recall, needless.f1, needless.f1_best) == (0, None, 0, 0)
    assert set(nothing.to_dict().values()) == {None, ()}
    assert label_quality(some, some, 0.8).precision is None
    assert label_quality(some, some, 0.8).recall == 0
    again = json.loads(json.dumps(label_quality(some, some, 0.5).to_dict(), allow_nan=False))
    assert again["reliability"] == [{"score": pytest.approx(0.7), "precision": 1.0, "count": 1}]


def test_lists_and_tables_agree_and_files_must_belong_together() -> None:
    truth, labels = random_tables(6)
    listed = [boxes_of(labels, int(i)) for i in labels.index_of(truth.image_ids)]
    without_crowds = [boxes[boxes.weights > 0] for boxes in listed]
    assert label_quality(truth, without_crowds, 0.5) == label_quality(truth, labels, 0.5)
    with pytest.raises(InputError, match="lacks 1 of the images"):
        label_quality(table([]), table([], image_ids=(1,)), 0.5)


def test_true_classes_of_a_table_are_those_of_each_image() -> None:
    background = found_on_crowds = 0
    for seed in range(20):
        truth, labels = random_tables(seed)
        wanted = [true_classes(boxes_of(labels, i), boxes_of(truth, i)) for i in range(len(truth))]
        found = true_classes_of(labels, truth)
        assert found.tolist() == [label for each in wanted for label in each.tolist()]
        background, found_on_crowds = background + (found == len(truth.space)).sum(), found_on_crowds + (found == -1).sum()
    assert min(background, found_on_crowds) > 0
