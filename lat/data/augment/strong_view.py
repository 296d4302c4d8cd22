"""The strong view of a training image: colour jitter, blur and erased patches; nothing moves, so boxes stay unchanged.

Source: Liu et al., Unbiased Teacher (2021), with the probabilities and ranges of its published code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from lat.data.augment.appearance import BLUR_SIGMA, between, blur, happens, jitter_colors


@dataclass(frozen=True)
class Erasing:
    """A rectangle of noise: its probability, and the ranges of its area (share of the image) and of height / width."""

    probability: float
    area: tuple[float, float]
    aspect: tuple[float, float]


JITTER_PROBABILITY = 0.8
JITTER = 0.4  # brightness, contrast and saturation from 0.6 to 1.4, hue by up to 0.1
GREY_PROBABILITY = 0.2
BLUR_PROBABILITY = 0.5
ERASINGS = (
    Erasing(0.7, (0.05, 0.2), (0.3, 3.3)),
    Erasing(0.5, (0.02, 0.2), (0.1, 6.0)),
    Erasing(0.3, (0.02, 0.2), (0.05, 8.0)),
)


def strong_view(image: Tensor, generator: torch.Generator) -> Tensor:
    """A strongly varied copy of an image; the same generator state gives the same result.

    Colours are jittered in random order (probability 0.8), made grey (0.2), blurred (0.5); then up to three patches are erased.

    Args:
        image: (3, H, W) float32 in [0, 1]; not modified.
        generator: the only source of randomness.

    Returns:
        A new image of the same size, dtype and range.
    """
    if happens(JITTER_PROBABILITY, generator):
        image = jitter_colors(image, JITTER, generator)
    if happens(GREY_PROBABILITY, generator):
        image = F.rgb_to_grayscale(image, num_output_channels=3)
    if happens(BLUR_PROBABILITY, generator):
        image = blur(image, between(*BLUR_SIGMA, generator))
    image = image.clamp(0.0, 1.0)
    for erasing in ERASINGS:
        if happens(erasing.probability, generator):
            image = _erased(image, erasing, generator)
    return image


def _erased(image: Tensor, erasing: Erasing, generator: torch.Generator) -> Tensor:
    """The image with a rectangle of uniform noise, at most as large as the image."""
    height, width = image.shape[-2:]
    area = between(*erasing.area, generator) * height * width
    aspect = math.exp(between(math.log(erasing.aspect[0]), math.log(erasing.aspect[1]), generator))
    h, w = (max(1, min(round(math.sqrt(a)), side)) for a, side in ((area * aspect, height), (area / aspect, width)))
    top, left = (int(torch.randint(side, (1,), generator=generator)) for side in (height - h + 1, width - w + 1))
    noise = torch.rand(image.shape[0], h, w, generator=generator)
    result: Tensor = F.erase(image, top, left, h, w, noise)
    return result
