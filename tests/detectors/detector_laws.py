"""What holds for the detectors of every library, as assertions that their tests share."""

from __future__ import annotations

import torch

from lat.core.label_space import LabelSpace
from lat.detectors.base import build_detector
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.image_batch import IMAGENET_MEAN


def assert_feature_maps_cover_the_image(settings: DetectorSettings, space: LabelSpace, channels: int) -> None:
    """Feature maps of a detector whose finest stride is 4 have the exact stride and leave the detector as it was."""
    torch.manual_seed(0)
    detector = build_detector(settings, space)
    image = torch.rand(1, 3, 50, 63)
    maps = detector.feature_maps(image)
    assert maps.shape == (1, channels, 13, 16)  # ceil(50 / 4), ceil(63 / 4)
    assert detector.feature_channels == channels
    assert not maps.requires_grad
    assert detector.training
    # The image stands in the top left corner of a canvas of the mean colour: drawing that canvas by hand changes nothing.
    canvas = torch.tensor(getattr(detector, "mean", IMAGENET_MEAN)).view(1, 3, 1, 1).expand(1, 3, 64, 64).clone()
    canvas[:, :, :50, :63] = image
    torch.testing.assert_close(detector.feature_maps(canvas)[..., :13, :16], maps, atol=1e-4, rtol=1e-4)
