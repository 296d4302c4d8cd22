"""Other colours and blur of a training image: nothing moves, so boxes stay where they are.

Images are (3, H, W) float32 in [0, 1]; the generator is the only source of chance.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

BLUR_SIGMA = (0.1, 2.0)  # of a blur by chance, in pixels
_HUE_SHARE = 0.25  # hue turns by a quarter of what the other factors change by
_ADJUST = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)


def jitter_colors(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation times factors from 1 - strength to 1 + strength, hue turned by up to a quarter of it in
    either direction (1 is the whole circle), in any order.
    """
    for i in torch.randperm(len(_ADJUST), generator=generator).tolist():
        low, high = (-_HUE_SHARE * strength, _HUE_SHARE * strength) if i == 3 else (1 - strength, 1 + strength)
        image = _ADJUST[i](image, between(low, high, generator))
    return image


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur over three sigmas (pixels) to each side, as far as the image is large enough to be mirrored there."""
    reach = min(math.ceil(3 * sigma), min(image.shape[-2:]) - 1)
    result: Tensor = F.gaussian_blur(image, [2 * reach + 1] * 2, [sigma] * 2)
    return result


def between(low: float, high: float, generator: torch.Generator) -> float:
    """A number from `low` to below `high`."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def happens(probability: float, generator: torch.Generator) -> bool:
    """True with that probability; the generator advances by one number."""
    return between(0.0, 1.0, generator) < probability
