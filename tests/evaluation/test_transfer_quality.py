import json

import pytest
import torch
from tables import PETS, row, table

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.evaluation.transfer_quality import agreement, labels_by_class_names, match_boxes, union_labels

A, B, C = (10.0, 10.0, 30.0, 30.0), (50.0, 50.0, 90.0, 70.0), (0.0, 80.0, 10.0, 90.0)


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


def test_the_best_pair_is_matched_first():
    # Against first 0 = (0, 0, 10, 10): second 0 has IoU 0.6, second 1 has 0.9. First 1 = (0, 0, 10, 8) has IoU 0.75 with
    # second 0 and 8/9 = 0.889 with second 1. Best is 0-1, which leaves 1-0; matching in order of rows would give the same
    # pairs, matching rows 1 first would not.
    first = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]])
    second = torch.tensor([[0.0, 0, 10, 6], [0, 0, 10, 9], [80, 80, 90, 90]])
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        matches = match_boxes(first[order], second)
        pairs = sorted((order[i], j) for i, j in zip(matches.first.tolist(), matches.second.tolist(), strict=True))
        assert pairs == [(0, 1), (1, 0)]
        assert sorted(matches.iou.tolist()) == pytest.approx([0.75, 0.9])
        assert [order[i] for i in matches.first_unmatched.tolist()] == [2]
        assert matches.second_unmatched.tolist() == [2]


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 2), (2, 0)])
def test_no_boxes_no_matches(n, m):
    matches = match_boxes(torch.tensor([A, B])[:n], torch.tensor([A, B])[:m])
    assert len(matches.first) == len(matches.second) == len(matches.iou) == 0
    assert matches.first_unmatched.tolist() == list(range(n))
    assert matches.second_unmatched.tolist() == list(range(m))


def test_equal_boxes_are_matched_one_to_one():
    matches = match_boxes(torch.tensor([A, A, A]), torch.tensor([A, A]))
    assert (matches.first.tolist(), matches.second.tolist()) == ([0, 1], [0, 1])
    assert matches.first_unmatched.tolist() == [2]


def test_agreement_counts_what_happened_to_each_box():
    way = LabelSpace("way", ("animal", "toy"), (1, 2))
    moved = (10.0, 10.0, 30.0, 26.0)  # IoU with A: 0.8
    source = [boxes([(0, A), (1, B), (1, C)]), boxes([(0, A)], weights=torch.zeros(1)), boxes([])]
    transferred = [boxes([(1, B), (0, moved)], way), boxes([], way), boxes([(0, C), (1, A)], way)]
    result = agreement(source, transferred)
    assert (result.kept, result.moved, result.added, result.dropped) == (1, 1, 2, 1)
    assert result.class_changes == ((1, 0), (0, 1))  # cat -> animal, dog -> toy
    assert json.loads(json.dumps(result.to_dict())) == {
        "kept": 1,
        "moved": 1,
        "added": 2,
        "dropped": 1,
        "class_changes": {"cat": {"animal": 1}, "dog": {"toy": 1}},
    }
    single = [agreement([old], [new]) for old, new in zip(source, transferred, strict=True)]
    assert [one.added for one in single] == [0, 0, 2]
    assert agreement(source, transferred, kept_iou=0.8).kept == 2


def test_every_box_is_counted_once():
    random = torch.Generator().manual_seed(0)

    def some():
        corners = 80 * torch.rand(12, 2, generator=random)
        xyxy = torch.cat([corners, corners + 5 + 30 * torch.rand(12, 2, generator=random)], dim=1)
        return LabeledBoxes(xyxy, torch.randint(0, 2, (12,), generator=random), PETS)

    source, transferred = [some() for _ in range(8)], [some() for _ in range(8)]
    result = agreement(source, transferred, iou=0.3)
    assert result.kept + result.moved + result.dropped == 96
    assert result.kept + result.moved + result.added == 96
    assert sum(map(sum, result.class_changes)) == result.kept + result.moved > 0
