"""The noise of a noisy student: its images are harder than those that its teacher saw.

Source: Xie et al., Self-training with Noisy Student (2020); Yang et al., DARS (2021), section 3.3, on scales that widen.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from lat.data.augment.appearance import BLUR_SIGMA, between, blur, happens, jitter_colors
from lat.data.augment.augment_settings import NoiseSettings
from lat.data.augment.geometry import Sample, mosaic


def add_noise(sample: Sample, draw_another: Callable[[], Sample], settings: NoiseSettings, generator: torch.Generator) -> Sample:
    """Vary one training image and its boxes; the same generator state gives the same result.

    Args:
        sample: image (3, H, W) float32 in [0, 1], and its boxes.
        draw_another: returns the other images of a mosaic.
        settings: how to vary it.
        generator: the only source of randomness.

    Returns:
        An image of the same size, and its boxes.
    """
    if settings.mosaic and happens(settings.mosaic, generator):
        sample = mosaic([sample, draw_another(), draw_another(), draw_another()], generator)
    image, boxes = sample
    if settings.color:
        image = jitter_colors(image, settings.color, generator)
    if settings.blur and happens(settings.blur, generator):
        image = blur(image, between(*BLUR_SIGMA, generator))
    return image.clamp(0.0, 1.0), boxes
