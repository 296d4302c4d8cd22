"""Augmentation of an image together with its boxes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxFormat

from lat.core.copies import to_device
from lat.core.structures import LabeledBoxes
from lat.data.augment.augment_settings import AugmentationSettings
from lat.data.augment.geometry import Placement
from lat.data.tensors import unit_range


def augment(
    image: Tensor, boxes: LabeledBoxes, settings: AugmentationSettings, generator: torch.Generator
) -> tuple[Tensor, LabeledBoxes]:
    """Vary one training image; the same generator state gives the same result.

    Every call draws the same seven numbers from the generator, whatever the settings are.

    Args:
        image: (3, H, W) float32 in [0, 1].
        boxes: in pixels of that image.
        settings: how to vary it.
        generator: the only source of randomness.

    Returns:
        An image of the same size, dtype and range, and its boxes with their other columns unchanged, but for boxes that scaling
        moves off the image or most of the way: see `Placement.of_boxes`.
    """
    variation = Variation.drawn(settings, generator)
    return variation.of_image(image), variation.of_boxes(boxes, (image.shape[-2], image.shape[-1]))


def flip_horizontally(image: Tensor, boxes: LabeledBoxes) -> tuple[Tensor, LabeledBoxes]:
    """Mirror an image (3, H, W) and its boxes left to right."""
    variation = Variation(is_mirrored=True)
    return variation.of_image(image), variation.of_boxes(boxes, (image.shape[-2], image.shape[-1]))


@dataclass(frozen=True)
class Variation:
    """How one training image is varied.

    Attributes:
        color_factors: of brightness, contrast and saturation, in this order; none leaves colours as they are.
        is_mirrored: whether the image is mirrored left to right.
        scale: factor of both sides, on a canvas of the image's own size; 1 leaves the image as it is.
        at_xy: where on the canvas, see `Placement.within`.
    """

    color_factors: tuple[float, ...] = ()
    is_mirrored: bool = False
    scale: float = 1.0
    at_xy: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def drawn(cls, settings: AugmentationSettings, generator: torch.Generator) -> Variation:
        """A variation by seven numbers from the generator."""
        flip, *colors, size, x, y = torch.rand(7, generator=generator).tolist()
        jitter, (smallest, largest) = settings.color_jitter, settings.scale
        factors = tuple(1.0 + jitter * (2.0 * chance - 1.0) for chance in colors) if jitter else ()
        return cls(factors, flip < settings.horizontal_flip, smallest + (largest - smallest) * size, (x, y))

    def of_image(self, image: Tensor) -> Tensor:
        """The image (3, H, W) float32 in [0, 1], varied."""
        adjustments = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
        for adjust, factor in zip(adjustments, self.color_factors, strict=False):
            image = adjust(image, factor)
        image = F.horizontal_flip(image) if self.is_mirrored else image
        return image if self.scale == 1.0 else self._placement((image.shape[-2], image.shape[-1])).of_image(image)

    def of_boxes(self, boxes: LabeledBoxes, size_hw: tuple[int, int]) -> LabeledBoxes:
        """The boxes of an image of `size_hw`, varied."""
        boxes = mirror_boxes(boxes, size_hw) if self.is_mirrored else boxes
        return boxes if self.scale == 1.0 else self._placement(size_hw).of_boxes(boxes, size_hw)

    def _placement(self, size_hw: tuple[int, int]) -> Placement:
        return Placement.within(size_hw, self.scale, self.at_xy)


@dataclass(frozen=True, eq=False)
class AugmentedThere:
    """A training image that is augmented on the device that it is moved to: until then it takes a quarter of the memory.

    Attributes:
        pixels: (3, H, W) uint8.
        variation: what becomes of it.
    """

    pixels: Tensor
    variation: Variation

    def pin_memory(self) -> AugmentedThere:
        """The same image, ready for a copy that nobody waits for."""
        return replace(self, pixels=self.pixels.pin_memory())

    def to(self, device: torch.device) -> Tensor:
        """(3, H, W) float32 in [0, 1] on the device, as `augment` returns it."""
        return self.variation.of_image(unit_range(to_device(self.pixels, device)))


def mirror_boxes(boxes: LabeledBoxes, size_hw: tuple[int, int]) -> LabeledBoxes:
    """The boxes of an image of `size_hw` in the image mirrored left to right."""
    flipped = F.horizontal_flip_bounding_boxes(boxes.boxes_xyxy, BoundingBoxFormat.XYXY, size_hw)
    return replace(boxes, boxes_xyxy=flipped)
