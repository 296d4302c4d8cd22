from __future__ import annotations

import numpy as np
import pytest
import torch
from tables import PETS, row, table

from lat.baselines.box_statistics import normalise_box_statistics
from lat.core.structures import LabeledBoxes
from lat.data.tensors import boxes_of


def centred(width: float, height: float, x: float = 50, y: float = 50) -> tuple[float, float, float, float]:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def boxes(*corners: tuple[float, ...], label: int = 0, **more: torch.Tensor) -> LabeledBoxes:
    xyxy = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)
    return LabeledBoxes(xyxy, torch.full((len(xyxy),), label), PETS, **more)


def sides(of: LabeledBoxes) -> torch.Tensor:
    return of.boxes_xyxy[:, 2:] - of.boxes_xyxy[:, :2]


def log_statistics(images: list[LabeledBoxes], sizes_hw: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    shares = torch.cat([sides(of) / torch.tensor([w, h]) for of, (h, w) in zip(images, sizes_hw, strict=True)])
    return shares.log().mean(dim=0), shares.log().std(dim=0, correction=0)


def test_two_boxes_by_hand() -> None:
    # Target widths 8 and 32 of 100: geometric mean 16 %, spread log 2. Source widths 20 and 80 of 200: geometric mean 20 %, the
    # same spread; both become 16 / 20 = 0.8 as wide. Target heights have no spread: 20 and 40 of 100 both become 10.
    target = table([row(0, 0, centred(8, 10)), row(1, 0, centred(32, 10))])
    (found,) = normalise_box_statistics([boxes(centred(20, 20), centred(80, 40))], np.array([[100, 200]]), target, min_boxes=2)
    assert sides(found).tolist() == [pytest.approx([16, 10]), pytest.approx([64, 10])]
    centres = (found.boxes_xyxy[:, 2:] + found.boxes_xyxy[:, :2]) / 2
    assert centres.tolist() == [pytest.approx([50, 50])] * 2


def test_statistics_agree_afterwards_with_the_target_class_by_class() -> None:
    random = torch.Generator().manual_seed(0)

    def drawn(count: int, width: float, spread: float, label: int) -> list[tuple[int, int, tuple[float, ...], float, bool]]:
        sizes = (torch.tensor([width, 1.5 * width]).log() + spread * torch.randn(count, 2, generator=random)).exp()
        return [row(i % 2, label, centred(*size.tolist())) for i, size in enumerate(sizes)]

    target = table(drawn(30, 8, 0.1, 0) + drawn(20, 20, 0.2, 1))
    source = table(drawn(25, 12, 0.3, 0) + drawn(25, 10, 0.1, 1))
    given = [boxes_of(source, i) for i in range(2)]
    found = normalise_box_statistics(given, source.sizes_hw, target)
    wanted = [boxes_of(target, i) for i in range(2)]
    for k in range(2):
        of_class = [[of[of.labels == k] for of in images] for images in (found, wanted)]
        for ours, theirs in zip(*(log_statistics(images, [[100, 100]] * 2) for images in of_class), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    again = normalise_box_statistics(found, source.sizes_hw, target)
    for once, twice, before in zip(found, again, given, strict=True):
        torch.testing.assert_close(twice.boxes_xyxy, once.boxes_xyxy, atol=1e-3, rtol=0)
        assert torch.equal(once.annotation_ids, before.annotation_ids)
        assert torch.equal(once.labels, before.labels)


def test_without_a_spread_only_the_mean_moves() -> None:
    target = table([row(0, 0, centred(10, 10)), row(0, 0, centred(40, 10))])  # geometric mean width 20
    images = [boxes(centred(5, 5)), boxes(centred(5, 5, x=20))]
    found = normalise_box_statistics(images, np.full((2, 2), 100), target, min_boxes=2)
    assert [sides(of).tolist() for of in found] == [[pytest.approx([20, 10])]] * 2


def test_boxes_stay_inside_their_image() -> None:
    target = table([row(0, 0, centred(40, 40))])
    (found,) = normalise_box_statistics([boxes((0, 60, 20, 80))], np.array([[80, 100]]), target, min_boxes=1)
    # 40 % of 100 is 40 wide; 40 % of 80 is 32 high: x -10..30 and y 54..86, clipped
    assert found.boxes_xyxy.tolist() == [pytest.approx([0, 54, 30, 80])]


def test_few_boxes_crowds_and_boxes_without_area_are_left_as_they_are() -> None:
    flat = (10.0, 10.0, 10.0, 20.0)
    given = boxes(centred(10, 10), centred(90, 90), flat, weights=torch.tensor([1.0, 0.0, 1.0]))
    target = table([row(0, 0, centred(20, 20)), row(0, 0, centred(99, 99), crowd=True)])
    (found,) = normalise_box_statistics([given], np.array([[100, 100]]), target, min_boxes=1)
    assert sides(found).tolist() == [pytest.approx([20, 20]), pytest.approx([90, 90]), [0, 10]]
    for least in (2, 10):
        (same,) = normalise_box_statistics([given], np.array([[100, 100]]), target, min_boxes=least)
        assert torch.equal(same.boxes_xyxy, given.boxes_xyxy)
    (other,) = normalise_box_statistics([boxes(centred(10, 10), label=1)], np.array([[100, 100]]), target, min_boxes=1)
    assert sides(other).tolist() == [[10, 10]]


def test_images_without_boxes_are_legal() -> None:
    target = table([row(0, 0, centred(40, 40))])
    empty = LabeledBoxes.empty(PETS)
    found = normalise_box_statistics([empty, empty], np.full((2, 2), 100), target, min_boxes=1)
    assert [len(of) for of in found] == [0, 0]
    assert normalise_box_statistics([], np.zeros((0, 2)), target) == []
