"""Make one normalised, padded batch of images of different sizes, and map boxes there and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from lat.core.copies import numbers_on

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def resized_hw(size_hw: tuple[int, int], image_size: int, max_image_size: int, scale: float = 1.0) -> tuple[int, int]:
    """Height and width after resizing to a shorter side of `image_size`, unless the longer side would exceed `max_image_size`.

    With `image_size` 0 the size is unchanged. Either is then scaled by `scale`.
    """
    if image_size != 0:
        scale *= min(image_size / min(size_hw), max_image_size / max(size_hw))
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def resized(image: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """An image (C, H, W) resized bilinearly to a height and width; the image itself if it already has them."""
    if tuple(image.shape[-2:]) == size_hw:
        return image
    return F.interpolate(image[None], size=size_hw, mode="bilinear", align_corners=False)[0]


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Images as the network sees them.

    Attributes:
        pixels: (B, 3, H, W) float32, normalised, channels last in memory; smaller images are in the top left corner,
            the rest is 0.
        sizes_hw: height and width of each image after resizing and before padding.
        originals_hw: height and width of each original image.
    """

    pixels: Tensor
    sizes_hw: list[tuple[int, int]]
    originals_hw: list[tuple[int, int]]

    def scale_xyxy(self, index: int) -> Tensor:
        """(4,) float32 on the batch's device: ratio of an image's resized to original size along x, y, x, y."""
        return scale_xyxy(self.sizes_hw[index], self.originals_hw[index], self.pixels.device)


def scale_xyxy(resized_hw: tuple[int, int], original_hw: tuple[int, int], device: torch.device) -> Tensor:
    """(4,) float32: ratio of resized to original size along x, y, x, y, exact for each axis."""
    sy, sx = (size / original for size, original in zip(resized_hw, original_hw, strict=True))
    return numbers_on(device, [sx, sy, sx, sy])


@lru_cache(maxsize=16)
def _of_colors(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """(3, 1, 1): a number for red, green and blue."""
    with torch.inference_mode(False):  # it outlives the prediction that first asks for it
        return numbers_on(device, values, dtype).view(3, 1, 1)


def batch_images(
    images: list[Tensor],
    image_size: int,
    max_image_size: int,
    divisible_by: int,
    *,
    normalisation: tuple[Sequence[float], Sequence[float]] = (IMAGENET_MEAN, IMAGENET_STD),
    scale: float = 1.0,
) -> ImageBatch:
    """Resize and normalise images (3, H, W) float32 in [0, 1], and pad them to one size with sides divisible by `divisible_by`.

    Images of one suitable size are stacked without any padding. `normalisation` is mean and standard deviation of red,
    green and blue; for sizes see `resized_hw`.

    Raises:
        ValueError: if an image is not a (3, H, W) floating point tensor.
    """
    for image in images:
        if image.ndim != 3 or len(image) != 3 or not image.is_floating_point():
            raise ValueError(f"an image must be (3, H, W) floating point, got {tuple(image.shape)} {image.dtype}")
    originals = [(image.shape[1], image.shape[2]) for image in images]
    sizes = [resized_hw(size, image_size, max_image_size, scale) for size in originals]
    height, width = (math.ceil(max(sides) / divisible_by) * divisible_by for sides in zip(*sizes, strict=True))
    shift, spread = (_of_colors(tuple(values), images[0].device, images[0].dtype) for values in normalisation)
    pixels = images[0].new_zeros(len(images), 3, height, width).contiguous(memory_format=torch.channels_last)
    for row, image, size in zip(pixels, images, sizes, strict=True):
        row[:, : size[0], : size[1]] = (resized(image, size) - shift) / spread
    return ImageBatch(pixels, sizes, originals)
