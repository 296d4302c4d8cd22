"""Which candidates suppress which, and what their average is."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from lat.core.suppression import settle
from lat.labelling.candidates import Candidates


def candidates(boxes: Tensor, labels: Tensor, scores: Tensor, images: Tensor, source: Tensor | None = None) -> Candidates:
    source = torch.full_like(labels, -1) if source is None else source
    return Candidates(
        boxes, boxes, boxes, torch.zeros_like(labels).bool(), labels, scores, images, source, boxes, pairs(images, labels)
    )


def pairs(images: Tensor, labels: Tensor) -> int:
    """The number of pairs of one image and class."""
    return int(sum(count * (count - 1) // 2 for count in Counter(zip(images.tolist(), labels.tolist(), strict=True)).values()))


def best_of(found: Candidates, nms_iou: float, most: int, *, human_first: bool) -> Tensor:
    contest = found.contest(nms_iou, most, human_first=human_first)
    settle([contest])
    return contest.best()


def agreeing(found: Candidates, best: Tensor, least_iou: float) -> list[tuple[int, int]]:
    """Each place in the best, and a candidate that agrees with it."""
    into, of = found.agreeing(best, least_iou)
    return sorted(pair for pair in zip(into.tolist(), of.tolist(), strict=True) if pair[0] < len(best))


def crowded(count: int, seed: int) -> Candidates:
    """Boxes of 10 to 20 pixels on 40 by 40, of three classes in four images; each lies on many others."""
    generator = torch.Generator().manual_seed(seed)
    corner = 20 * torch.rand(count, 2, generator=generator)
    boxes = torch.cat([corner, corner + 10 + 10 * torch.rand(count, 2, generator=generator)], dim=1)
    labels, images = (torch.randint(most, (count,), generator=generator) for most in (3, 4))
    return candidates(boxes, labels, torch.rand(count, generator=generator), images.sort().values)


@pytest.mark.parametrize("nms_iou", [0.1, 0.3, 0.5, 0.8])
def test_suppression_is_that_of_torchvision_in_each_image(nms_iou: float) -> None:
    for seed in range(5):
        found = crowded(300, seed)
        best = best_of(found, nms_iou, 300, human_first=False)
        wanted = batched_nms(found.boxes_xyxy.double(), found.scores.double(), found.images * 3 + found.labels, nms_iou)
        assert sorted(best.tolist()) == sorted(wanted.tolist())
        images, scores = found.images[best], found.scores[best]
        assert (images.diff() >= 0).all()
        assert (scores.diff()[images.diff() == 0] <= 0).all()


def test_the_best_of_each_image_are_left_if_there_are_too_many() -> None:
    found = crowded(300, 0)
    every, few = best_of(found, 0.9, 300, human_first=False), best_of(found, 0.9, 5, human_first=False)
    for image in range(4):
        assert few[found.images[few] == image].tolist() == every[found.images[every] == image][:5].tolist()


def test_human_boxes_come_first_and_are_averaged_with_no_other_of_them() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 5]])
    labels, scores, images = torch.zeros(3, dtype=torch.int64), torch.tensor([0.9, 0.3, 0.6]), torch.zeros(3, dtype=torch.int64)
    found = candidates(boxes, labels, scores, images, torch.tensor([-1, 0, 0]))
    best = best_of(found, 0.5, 9, human_first=True)
    assert best.tolist() == [2, 1]  # two of one class, drawn on each other; the detection is suppressed
    averaged = found.drawn(best, 0.5)
    torch.testing.assert_close(averaged[:, 3], torch.tensor([5, (0.9 * 10 + 0.3 * 9) / 1.2]))
    assert agreeing(found, best, 0.5) == [(0, 2), (1, 0), (1, 1)]  # the detection, with the one that it overlaps most


def test_two_human_boxes_that_nearly_coincide_are_one_object_boxed_twice() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6.1], [0, 0, 10, 5.9]])  # IoU 0.61 and 0.59 with the first
    nothing = torch.zeros(2, dtype=torch.int64)
    for other, best in ((1, [0]), (2, [0, 1])):
        found = candidates(boxes[[0, other]], nothing, torch.tensor([0.9, 0.8]), nothing, nothing)
        assert best_of(found, 0.5, 9, human_first=True).tolist() == best


def test_a_candidate_speaks_of_one_object() -> None:
    # Three boxes of height 10 in a row. The middle one overlaps the first by 7 / 13, which suppresses it, and the last by 8 / 12.
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 3, 10, 13], [0, 5, 10, 15]])
    nothing = torch.zeros(3, dtype=torch.int64)
    found = candidates(boxes, nothing, torch.tensor([0.9, 0.8, 0.3]), nothing)
    best = best_of(found, 0.5, 9, human_first=False)
    assert best.tolist() == [0, 2]
    assert agreeing(found, best, 0.5) == [(0, 0), (1, 1), (1, 2)]
    overlapping = torch.tensor([0, 1])  # each of the best speaks of itself, however much others overlap it
    assert agreeing(found, overlapping, 0.5) == [(0, 0), (1, 1), (1, 2)]


def test_what_the_detector_draws_has_its_share_beside_all_that_the_model_draws() -> None:
    drawn, detected = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8]]), torch.tensor([[0.0, 0, 0, 0], [0, 0, 10, 12]])
    labels, scores = torch.zeros(2, dtype=torch.int64), torch.tensor([0.6, 0.3])
    found = Candidates(drawn, drawn, detected, torch.tensor([False, True]), labels, scores, labels, labels - 1, drawn, 1)
    best = best_of(found, 0.5, 9, human_first=False)
    assert best.tolist() == [0]
    by_model = (0.6 * 10 + 0.3 * 8) / 0.9
    for share in (0.0, 0.5, 0.75):
        torch.testing.assert_close(found.drawn(best, share)[0, 3], torch.tensor((1 - share) * by_model + share * 12))


def test_no_candidates() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    found = candidates(torch.zeros(0, 4), nothing, torch.zeros(0), nothing)
    best = best_of(found, 0.5, 9, human_first=True)
    assert (len(best), found.drawn(best, 0.5).shape) == (0, (0, 4))
