"""Augmentation of an image together with its boxes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxFormat

from lat.core.structures import LabeledBoxes
from lat.data.augment.augment_settings import AugmentationSettings


def augment(
    image: Tensor, boxes: LabeledBoxes, settings: AugmentationSettings, generator: torch.Generator
) -> tuple[Tensor, LabeledBoxes]:
    """Vary one training image; the same generator state gives the same result.

    Every call draws the same four numbers from the generator, whatever the settings are.

    Args:
        image: (3, H, W) float32 in [0, 1].
        boxes: in pixels of that image.
        settings: how to vary it.
        generator: the only source of randomness.

    Returns:
        An image of the same size, dtype and range, and its boxes with their other columns unchanged.
    """
    chances = torch.rand(4, generator=generator).tolist()
    for adjust, chance in zip((F.adjust_brightness, F.adjust_contrast, F.adjust_saturation), chances[1:], strict=True):
        if settings.color_jitter:
            image = adjust(image, 1.0 + settings.color_jitter * (2.0 * chance - 1.0))
    if chances[0] < settings.horizontal_flip:
        image, boxes = flip_horizontally(image, boxes)
    return image, boxes


def flip_horizontally(image: Tensor, boxes: LabeledBoxes) -> tuple[Tensor, LabeledBoxes]:
    """Mirror an image (3, H, W) and its boxes left to right."""
    height, width = image.shape[-2:]
    return F.horizontal_flip(image), mirror_boxes(boxes, (height, width))


def mirror_boxes(boxes: LabeledBoxes, size_hw: tuple[int, int]) -> LabeledBoxes:
    """The boxes of an image of `size_hw` in the image mirrored left to right."""
    flipped = F.horizontal_flip_bounding_boxes(boxes.boxes_xyxy, BoundingBoxFormat.XYXY, size_hw)
    return replace(boxes, boxes_xyxy=flipped)
