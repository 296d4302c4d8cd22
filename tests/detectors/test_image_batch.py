from __future__ import annotations

import pytest
import torch

from lat.detectors.image_batch import IMAGENET_MEAN, IMAGENET_STD, batch_images, resized_hw


@pytest.mark.parametrize(
    ("size_hw", "image_size", "max_image_size", "expected"),
    [
        ((30, 40), 0, 10, (30, 40)),  # 0 keeps the size, whatever the maximum
        ((30, 40), 60, 1000, (60, 80)),
        ((40, 30), 60, 1000, (80, 60)),
        ((10, 100), 20, 100, (10, 100)),  # the longer side may not pass the maximum
        ((427, 640), 800, 1333, (800, 1199)),  # 640 * 800 / 427 = 1199.06
        ((1, 1000), 10, 100, (1, 100)),  # 0.1 pixels are still one
    ],
)
def test_resized_size(size_hw: tuple[int, int], image_size: int, max_image_size: int, expected: tuple[int, int]) -> None:
    assert resized_hw(size_hw, image_size, max_image_size) == expected


def test_either_size_is_scaled() -> None:
    assert resized_hw((30, 40), 0, 10, 1.3) == (39, 52)
    assert resized_hw((10, 100), 20, 100, 1.5) == (15, 150)  # beyond the maximum


def test_images_are_normalised_and_padded_at_the_right_and_bottom() -> None:
    ones, small = torch.ones(3, 10, 20), torch.zeros(3, 7, 9)
    batch = batch_images([ones, small], image_size=0, max_image_size=1, divisible_by=16)
    assert batch.pixels.shape == (2, 3, 16, 32)
    assert batch.sizes_hw == batch.originals_hw == [(10, 20), (7, 9)]
    assert batch.pixels[0, 1, 9, 19].item() == pytest.approx((1 - IMAGENET_MEAN[1]) / IMAGENET_STD[1])
    assert batch.pixels[1, 2, 6, 8].item() == pytest.approx(-IMAGENET_MEAN[2] / IMAGENET_STD[2])
    assert not batch.pixels[1, :, 7:].any()
    assert not batch.pixels[1, :, :, 9:].any()


def test_images_of_one_suitable_size_are_not_padded() -> None:
    assert batch_images([torch.rand(3, 48, 32)] * 2, 0, 1, divisible_by=16).pixels.shape == (2, 3, 48, 32)


def test_scales_are_exact_for_each_axis() -> None:
    batch = batch_images([torch.rand(3, 30, 41)], image_size=20, max_image_size=100, divisible_by=16)
    assert batch.sizes_hw == [(20, 27)]  # 41 * 2 / 3 = 27.33
    torch.testing.assert_close(batch.scale_xyxy(0), torch.tensor([27 / 41, 20 / 30, 27 / 41, 20 / 30]))


@pytest.mark.parametrize("image", [torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4), torch.zeros(1, 3, 4, 4)])
def test_an_image_of_another_shape_or_type_is_refused(image: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="an image must be"):
        batch_images([image], 0, 1, 16)
