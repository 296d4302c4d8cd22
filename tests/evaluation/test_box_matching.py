"""Boxes matched one to one, with the numbers that torchvision's operations give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from lat.core.boxes import covered_share
from lat.evaluation.box_matching import match_boxes, pairwise_iou, share_inside

A, B = (10.0, 10.0, 30.0, 30.0), (50.0, 50.0, 90.0, 70.0)


def test_the_best_pair_is_matched_first():
    # Against first 0 = (0, 0, 10, 10): second 0 has IoU 0.6, second 1 has 0.9. First 1 = (0, 0, 10, 8) has IoU 0.75 with
    # second 0 and 8/9 = 0.889 with second 1. Best is 0-1, which leaves 1-0; matching in order of rows would give the same
    # pairs, matching rows 1 first would not.
    first = np.array([[0.0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]], np.float32)
    second = np.array([[0.0, 0, 10, 6], [0, 0, 10, 9], [80, 80, 90, 90]], np.float32)
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        matches = match_boxes(first[order], second)
        pairs = sorted((order[i], j) for i, j in zip(matches.first.tolist(), matches.second.tolist(), strict=True))
        assert pairs == [(0, 1), (1, 0)]
        assert sorted(matches.iou.tolist()) == pytest.approx([0.75, 0.9])
        assert [order[i] for i in matches.first_unmatched.tolist()] == [2]
        assert matches.second_unmatched.tolist() == [2]


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 2), (2, 0)])
def test_no_boxes_no_matches(n, m):
    matches = match_boxes(np.array([A, B])[:n], np.array([A, B])[:m])
    assert len(matches.first) == len(matches.second) == len(matches.iou) == 0
    assert matches.first_unmatched.tolist() == list(range(n))
    assert matches.second_unmatched.tolist() == list(range(m))


def test_equal_boxes_are_matched_one_to_one():
    matches = match_boxes(np.array([A, A, A]), np.array([A, A]))
    assert (matches.first.tolist(), matches.second.tolist()) == ([0, 1], [0, 1])
    assert matches.first_unmatched.tolist() == [2]


def random_boxes(seed: int, count: int) -> np.ndarray:
    """(count, 4) float32; some are equal, and some have no area."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(0, 40, (count, 2))], axis=1).astype(np.float32)
    boxes[: count // 4] = boxes[count // 4]
    boxes[-2:, 2] = boxes[-2:, 0]
    return boxes


@pytest.mark.parametrize("seed", range(5))
def test_overlaps_are_those_of_torchvision_to_the_last_bit(seed: int) -> None:
    first, second = random_boxes(seed, 30), random_boxes(seed + 100, 40)
    tensors = torch.from_numpy(first), torch.from_numpy(second)
    assert np.array_equal(pairwise_iou(first, second), box_iou(*tensors).numpy(), equal_nan=True)
    assert np.array_equal(share_inside(first[:, None], second), covered_share(*tensors).numpy())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("has_scores", [False, True])
def test_matches_are_those_of_the_same_rule_on_tensors(seed: int, has_scores: bool) -> None:
    first, second = random_boxes(seed, 30), random_boxes(seed, 40)
    random = np.random.default_rng(seed)
    allowed = random.random((30, 40)) < 0.7
    scores = random.integers(0, 5, 40).astype(np.float32) / 4 if has_scores else None  # some are equal
    matches = match_boxes(first, second, 0.3, allowed=allowed, second_scores=scores)
    expected = matched_by_torch(
        *map(torch.from_numpy, (first, second, allowed)), None if scores is None else torch.tensor(scores)
    )
    found = zip(matches.first.tolist(), matches.second.tolist(), matches.iou.tolist(), strict=True)
    assert list(found) == expected
    assert sorted([*matches.first.tolist(), *matches.first_unmatched.tolist()]) == list(range(30))
    assert sorted([*matches.second.tolist(), *matches.second_unmatched.tolist()]) == list(range(40))


def matched_by_torch(
    first: torch.Tensor, second: torch.Tensor, allowed: torch.Tensor, scores: torch.Tensor | None
) -> list[tuple[int, int, float]]:
    """Pairs and their IoU, by torch's sort and torchvision's IoU."""
    overlaps = box_iou(first, second)
    rows, columns = ((overlaps >= 0.3) & allowed).nonzero(as_tuple=True)
    order = overlaps[rows, columns].argsort(descending=True, stable=True)
    if scores is not None:
        order = order[scores[columns[order]].argsort(descending=True, stable=True)]
    pairs: dict[int, int] = {}
    for i, j in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    return [(i, j, float(overlaps[i, j])) for i, j in sorted(pairs.items())]


def test_an_iou_that_is_the_threshold_is_enough() -> None:
    # 9 of 10 rows: the float32 nearest to 0.9 is below the float64 of that name, and counts as equal to it.
    first, second = np.array([[0, 0, 10, 10]], np.float32), np.array([[0, 0, 10, 9]], np.float32)
    assert len(match_boxes(first, second, 0.9).first) == 1
