"""How boxes lie on each other, pair by pair and image by image."""

from __future__ import annotations

import torch
from torchvision.ops import box_iou, clip_boxes_to_image

from lat.core.boxes import aligned_iou, clip_to_images, pairwise_iou, rows_of_one_group


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = 100 * torch.rand(*shape, 2, generator=generator) - 20
    return torch.cat([corner, corner + 1 + 60 * torch.rand(*shape, 2, generator=generator)], dim=-1)


def test_iou_is_that_of_torchvision() -> None:
    a, b = draw(40, seed=1), draw(40, seed=2)
    torch.testing.assert_close(pairwise_iou(a, b), box_iou(a, b))
    torch.testing.assert_close(aligned_iou(a, b), box_iou(a, b).diagonal())
    assert aligned_iou(torch.zeros(1, 4), torch.zeros(1, 4)).tolist() == [0.0]
    assert aligned_iou(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def test_pairs_are_all_of_one_group_and_no_others() -> None:
    a, b = torch.tensor([3, 0, 3, 7]), torch.tensor([3, 5, 0, 3])
    rows, places = rows_of_one_group(a, b)
    assert list(zip(rows.tolist(), places.tolist(), strict=True)) == [(0, 0), (0, 3), (1, 2), (2, 0), (2, 3)]
    for nothing in (rows_of_one_group(a[:0], b), rows_of_one_group(a, b[:0])):
        assert [len(each) for each in nothing] == [0, 0]


def test_each_box_is_clipped_to_its_own_image() -> None:
    boxes, sizes_hw = draw(30), torch.tensor([[40, 90], [100, 30], [70, 70]]).repeat(10, 1)
    wanted = [clip_boxes_to_image(box, tuple(size)) for box, size in zip(boxes, sizes_hw.tolist(), strict=True)]
    torch.testing.assert_close(clip_to_images(boxes, sizes_hw), torch.stack(wanted))
