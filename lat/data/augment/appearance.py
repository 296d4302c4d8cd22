"""Colour jitter and blur of a training image; nothing moves, so boxes stay unchanged.

Images are (3, H, W) float32 in [0, 1]; the generator is the only source of randomness.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

BLUR_SIGMA = (0.1, 2.0)  # range of a random blur, in pixels
_HUE_SHARE = 0.25  # hue changes by a quarter of the other factors' range
_ADJUST = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)


def jitter_colors(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Multiply brightness, contrast and saturation by factors from 1 - strength to 1 + strength, and turn the hue by up to a
    quarter of the strength in either direction (1 is the full circle), in random order.
    """
    for i in torch.randperm(len(_ADJUST), generator=generator).tolist():
        low, high = (-_HUE_SHARE * strength, _HUE_SHARE * strength) if i == 3 else (1 - strength, 1 + strength)
        image = _ADJUST[i](image, between(low, high, generator))
    return image


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur over three sigmas (pixels) to each side, less if the image is too small to be mirrored that far."""
    reach = min(math.ceil(3 * sigma), min(image.shape[-2:]) - 1)
    result: Tensor = F.gaussian_blur(image, [2 * reach + 1] * 2, [sigma] * 2)
    return result


def between(low: float, high: float, generator: torch.Generator) -> float:
    """A number from `low` to below `high`."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def happens(probability: float, generator: torch.Generator) -> bool:
    """True with this probability; draws one number from the generator."""
    return between(0.0, 1.0, generator) < probability
