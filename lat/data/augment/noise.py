"""The noise of a noisy student: its images are harder than those that its teacher saw.

Source: Xie et al., Self-training with Noisy Student (2020); Yang et al., DARS (2021), section 3.3, on scales that widen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from lat.core.errors import InputError
from lat.data.augment.appearance import BLUR_SIGMA, between, blur, happens, jitter_colors
from lat.data.augment.geometry import Sample, mosaic, rescale


@dataclass(frozen=True)
class NoiseSettings:
    """How the images of a training are varied beyond its augmentation; by default not at all.

    Raises:
        InputError: if a value is out of its range.
    """

    color: float = 0.0  # brightness, contrast and saturation change by up to this share, hue by a quarter of it
    blur: float = 0.0  # probability of a Gaussian blur
    scale_min: float = 1.0  # images are scaled by a factor from this
    scale_max: float = 1.0  # to this, on a canvas of their own size
    widen_min: float = 0.0  # in each round after the first, scale_min is multiplied by 1 - this
    widen_max: float = 0.0  # and scale_max by 1 + this
    mosaic: float = 0.0  # probability that an image is put together with three others
    dropout: float = 0.0  # share of the box head's activations that are dropped (torchvision)

    def __post_init__(self) -> None:
        for name in ("color", "blur", "widen_min", "mosaic", "dropout"):
            most = 0.99 if name in ("widen_min", "dropout") else 1.0
            if not 0.0 <= getattr(self, name) <= most:
                raise InputError(f"noise.{name}", f"is {getattr(self, name)}", f"choose a number from 0 to {most:g}")
        if not 0.0 <= self.widen_max <= 10.0:
            raise InputError("noise.widen_max", f"is {self.widen_max}", "choose a number from 0 to 10")
        if not 0.0 < self.scale_min <= self.scale_max <= 10.0:
            what = f"is {self.scale_min}, and noise.scale_max is {self.scale_max}"
            raise InputError("noise.scale_min", what, "choose 0 < scale_min <= scale_max <= 10")

    @property
    def changes_images(self) -> bool:
        """True if images are varied."""
        return bool(self.color or self.blur or self.mosaic) or (self.scale_min, self.scale_max) != (1.0, 1.0)

    def widened(self, times: int) -> NoiseSettings:
        """The noise after widening its scales this many times.

        Source: DARS, section 3.3: [(1 - beta_min) s_min, (1 + beta_max) s_max].
        """
        scale_min, scale_max = self.scale_min * (1 - self.widen_min) ** times, self.scale_max * (1 + self.widen_max) ** times
        return replace(self, scale_min=scale_min, scale_max=scale_max, widen_min=0.0, widen_max=0.0)


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
    if (settings.scale_min, settings.scale_max) != (1.0, 1.0):
        sample = rescale(sample, settings.scale_min, settings.scale_max, generator)
    image, boxes = sample
    if settings.color:
        image = jitter_colors(image, settings.color, generator)
    if settings.blur and happens(settings.blur, generator):
        image = blur(image, between(*BLUR_SIGMA, generator))
    return image.clamp(0.0, 1.0), boxes
