from __future__ import annotations

import pytest
import torch
from torchvision.ops import roi_align

from lat.detectors.region_pooling import SingleLevelRoIAlign

BOXES = [
    torch.tensor([[0.0, 0.0, 16.0, 12.0], [3.3, 4.7, 21.9, 17.2], [-9.0, -9.0, 60.0, 70.0]]),  # inside, odd, beyond the image
    torch.zeros(0, 4),
    torch.tensor([[5.0, 5.0, 5.5, 5.5], [20.0, 2.0, 24.0, 20.0]]),  # smaller than a cell, at the border
]


@pytest.mark.parametrize("sampling_ratio", [1, 2])
def test_equals_roi_align_of_torchvision_and_so_does_its_gradient(sampling_ratio: int) -> None:
    torch.manual_seed(0)
    features = torch.randn(3, 5, 6, 7, dtype=torch.float64, requires_grad=True)
    boxes = [image_boxes.double() for image_boxes in BOXES]
    pool = SingleLevelRoIAlign("0", stride=4, output_size=3, sampling_ratio=sampling_ratio)
    ours = pool({"0": features}, boxes, [])
    wanted = roi_align(features, boxes, 3, spatial_scale=0.25, sampling_ratio=sampling_ratio)
    torch.testing.assert_close(ours, wanted)
    direction = torch.randn_like(wanted)
    (ours_gradient,) = torch.autograd.grad(ours, features, direction, retain_graph=True)
    (wanted_gradient,) = torch.autograd.grad(wanted, features, direction)
    torch.testing.assert_close(ours_gradient, wanted_gradient)


def test_a_coordinate_ramp_gives_the_middle_of_the_box() -> None:
    x = torch.arange(10.0).view(1, 1, 1, 10).expand(1, 1, 8, 10)
    pooled = SingleLevelRoIAlign("0", stride=4, output_size=7)({"0": x}, [torch.tensor([[8.0, 4.0, 28.0, 20.0]])], [])
    assert pooled.mean().item() == pytest.approx((8 + 28) / 2 / 4)


def test_no_regions_at_all() -> None:
    pool = SingleLevelRoIAlign("0", stride=4)
    assert pool({"0": torch.randn(1, 5, 6, 7)}, [torch.zeros(0, 4)], []).shape == (0, 5, 7, 7)
