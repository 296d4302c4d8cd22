"""The strong view of a training image: other colours, blur and erased patches; nothing moves, so boxes stay where they are.

Source: Liu et al., Unbiased Teacher (2021), with the probabilities and ranges of its published code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F


@dataclass(frozen=True)
class Erasing:
    """A rectangle of noise: how probable it is, and the ranges of its area (share of the image) and of height / width."""

    probability: float
    area: tuple[float, float]
    aspect: tuple[float, float]


JITTER_PROBABILITY = 0.8
JITTER = (  # what is adjusted, by how much at least and at most
    (F.adjust_brightness, 0.6, 1.4),
    (F.adjust_contrast, 0.6, 1.4),
    (F.adjust_saturation, 0.6, 1.4),
    (F.adjust_hue, -0.1, 0.1),
)
GREY_PROBABILITY = 0.2
BLUR_PROBABILITY, BLUR_SIGMA = 0.5, (0.1, 2.0)  # in pixels
ERASINGS = (
    Erasing(0.7, (0.05, 0.2), (0.3, 3.3)),
    Erasing(0.5, (0.02, 0.2), (0.1, 6.0)),
    Erasing(0.3, (0.02, 0.2), (0.05, 8.0)),
)


def strong_view(image: Tensor, generator: torch.Generator) -> Tensor:
    """Another look of an image; the same generator state gives the same result, and nothing else is asked for chance.

    Colours are jittered in any order (probability 0.8), made grey (0.2), blurred (0.5); then up to three patches are erased.

    Args:
        image: (3, H, W) float32 in [0, 1]; it is left as it is.
        generator: the only source of chance.

    Returns:
        A new image of the same size, dtype and range.
    """
    if _happens(JITTER_PROBABILITY, generator):
        for i in torch.randperm(len(JITTER), generator=generator).tolist():
            adjust, low, high = JITTER[i]
            image = adjust(image, _between(low, high, generator))
    if _happens(GREY_PROBABILITY, generator):
        image = F.rgb_to_grayscale(image, num_output_channels=3)
    if _happens(BLUR_PROBABILITY, generator):
        image = _blurred(image, _between(*BLUR_SIGMA, generator))
    image = image.clamp(0.0, 1.0)
    for erasing in ERASINGS:
        if _happens(erasing.probability, generator):
            image = _erased(image, erasing, generator)
    return image


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _happens(probability: float, generator: torch.Generator) -> bool:
    return _between(0.0, 1.0, generator) < probability


def _blurred(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur over three sigmas to each side, as far as the image is large enough to be mirrored there."""
    reach = min(math.ceil(3 * sigma), min(image.shape[-2:]) - 1)
    return F.gaussian_blur(image, [2 * reach + 1] * 2, [sigma] * 2)


def _erased(image: Tensor, erasing: Erasing, generator: torch.Generator) -> Tensor:
    """The image with a rectangle of uniform noise; sides that would be longer than the image are cut."""
    height, width = image.shape[-2:]
    area = _between(*erasing.area, generator) * height * width
    aspect = math.exp(_between(math.log(erasing.aspect[0]), math.log(erasing.aspect[1]), generator))
    h, w = (max(1, min(round(math.sqrt(a)), side)) for a, side in ((area * aspect, height), (area / aspect, width)))
    top, left = (int(torch.randint(side, (1,), generator=generator)) for side in (height - h + 1, width - w + 1))
    noise = torch.rand(image.shape[0], h, w, generator=generator)
    return F.erase(image, top, left, h, w, noise)
