"""Classes matched by name, and the union with pseudo-labels."""

import pytest
import torch
from tables import PETS, row, table

from lat.baselines.class_names import averaged_union_labels, labels_by_class_names, union_labels
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes

A, B = (10.0, 10.0, 30.0, 30.0), (50.0, 50.0, 90.0, 70.0)


def boxes(rows, space=PETS, **more):
    xyxy = torch.tensor([box for _, box in rows], dtype=torch.float32).reshape(-1, 4)
    return LabeledBoxes(xyxy, torch.tensor([label for label, _ in rows], dtype=torch.int64), space, **more)


def test_classes_match_by_name_whatever_the_case_and_blanks():
    source = LabelSpace("a", ("Traffic_Light", " bus", "person", "CAR"), (1, 2, 3, 4))
    target = LabelSpace("b", ("car", "Car", "traffic-light", "bus", "rider"), (5, 6, 7, 8, 9))
    rows = [row(0, k, (10 * k, 0, 10 * k + 5, 5), score=0.5) for k in range(4)] + [row(1, 3, A, crowd=True)]
    first, second = labels_by_class_names(table(rows, space=source), target)
    assert first.labels.tolist() == [2, 3, 0]  # traffic light, bus, the first car; no class is called person
    assert first.boxes_xyxy[:, 0].tolist() == [0, 10, 30]
    assert first.annotation_ids.tolist() == [1, 2, 4]
    assert first.scores.tolist() == [1, 1, 1]
    assert first.space is target
    assert len(second) == 0


def test_an_exact_name_comes_before_a_similar_one():
    target = LabelSpace("b", ("car", "Car"), (5, 6))
    source = LabelSpace("a", ("Car", "car"), (1, 2))
    assert labels_by_class_names(table([row(0, 0, A), row(0, 1, B)], space=source), target)[0].labels.tolist() == [1, 0]


def test_the_union_adds_pseudo_labels_that_overlap_nothing():
    half = (10.0, 10.0, 30.0, 20.0)  # IoU with A: 0.5
    less = (10.0, 10.0, 30.0, 19.9)
    by_name = [boxes([(0, A)]), boxes([])]
    scores = torch.tensor([0.9, 0.8, 0.7])
    pseudo = [boxes([(1, half), (1, less), (0, B)], scores=scores, class_scores=torch.rand(3, 2)), boxes([(1, A)])]
    first, second = union_labels(by_name, pseudo)
    assert first.boxes_xyxy.tolist() == [list(A), pytest.approx(less), list(B)]
    assert first.labels.tolist() == [0, 1, 0]
    assert first.scores.tolist() == pytest.approx([1, 0.8, 0.7])
    assert second.boxes_xyxy.tolist() == [list(A)]
    assert len(union_labels(by_name, pseudo, iou=0.49)[0]) == 2


def test_the_averaged_union_meets_the_best_pseudo_label_half_way():
    alone = (0.0, 80.0, 20.0, 90.0)
    human = boxes([(0, A), (0, B), (1, alone)])
    near, less_near = (14.0, 10.0, 34.0, 30.0), (16.0, 10.0, 36.0, 30.0)  # IoU with A: 16/24 and 14/26
    below = (50.0, 50.0, 90.0, 59.9)  # IoU with B: just below a half
    other = (100.0, 100.0, 110.0, 110.0)
    scores = torch.tensor([0.7, 0.9, 0.4, 0.3])
    pseudo = boxes([(1, near), (0, less_near), (0, below), (1, other)], scores=scores, class_scores=torch.rand(4, 2))
    first, second, third = averaged_union_labels([human, boxes([]), human], [pseudo, pseudo, boxes([])])
    # A with the nearer one and its score, whatever the classes; B and the third keep their places; two are added
    assert first.boxes_xyxy.tolist() == [[12, 10, 32, 30], list(B), list(alone), pytest.approx(below), list(other)]
    assert first.labels.tolist() == [0, 0, 1, 0, 1]
    assert first.scores.tolist() == pytest.approx([0.7, 0.6, 0.6, 0.4, 0.3])
    assert second.scores.tolist() == pytest.approx(scores.tolist())
    assert third.boxes_xyxy.tolist() == [list(A), list(B), list(alone)]
    assert third.scores.tolist() == pytest.approx([0.6] * 3)


def test_the_averaged_union_has_a_least_score_for_human_boxes_alone():
    unsure = boxes([(1, A), (1, B)], scores=torch.tensor([0.2, 0.2]))
    (found,) = averaged_union_labels([boxes([(0, A)])], [unsure])
    assert found.scores.tolist() == pytest.approx([0.6, 0.2])
