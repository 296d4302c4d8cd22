"""Move images together with their boxes: scale them on a fixed canvas, or combine four into a mosaic.

Images are (3, H, W) float32 in [0, 1]; boxes are in pixels of their image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.ops import box_area, clip_boxes_to_image
from torchvision.transforms.v2 import functional as F

from lat.core.structures import LabeledBoxes
from lat.data.augment.appearance import between

CANVAS = 0.5  # grey value outside of images
VISIBLE = 0.4  # a box with a smaller share of its area visible is don't-care
CENTRE = (0.3, 0.7)  # where the four images of a mosaic meet, as shares of height and width

Sample = tuple[Tensor, LabeledBoxes]


@dataclass(frozen=True)
class Placement:
    """An image that is scaled and put on a canvas, grey outside of the image.

    Attributes:
        scale: factor of both sides, above 0; the sides are rounded to whole pixels, and boxes follow the rounded sides.
        offset_xy: position of the scaled image's upper left corner on the canvas, in pixels; may be outside.
        size_hw: size of the canvas.
    """

    scale: float
    offset_xy: tuple[int, int]
    size_hw: tuple[int, int]

    @classmethod
    def within(cls, size_hw: tuple[int, int], scale: float, at_xy: tuple[float, float]) -> Placement:
        """On a canvas of the image's own size: a smaller image lies entirely on it; a larger one is cropped.

        Args:
            size_hw: of the image.
            scale: factor of both sides.
            at_xy: shares in [0, 1] of the room beside the image, or of what is cropped, that lie to the left and above.
        """
        height, width = size_hw
        x, y = (round(share * (side - round(scale * side))) for share, side in zip(at_xy, (width, height), strict=True))
        return cls(scale, (x, y), size_hw)

    def of_image(self, image: Tensor) -> Tensor:
        """The canvas (3, H, W), on the image's device."""
        (x, y), (height, width), (new_h, new_w) = self.offset_xy, self.size_hw, self._scaled_hw(image.shape[-2:])
        scaled = F.resize(image, [new_h, new_w], antialias=True).clamp(0.0, 1.0)
        canvas = torch.full((3, height, width), CANVAS, device=image.device)
        top, left, bottom, right = max(0, y), max(0, x), min(height, y + new_h), min(width, x + new_w)
        if top < bottom and left < right:
            canvas[:, top:bottom, left:right] = scaled[:, top - y : bottom - y, left - x : right - x]
        return canvas

    def of_boxes(self, boxes: LabeledBoxes, size_hw: tuple[int, int]) -> LabeledBoxes:
        """The boxes of an image of `size_hw`, clipped to the canvas.

        Boxes outside are dropped, and boxes with less than `VISIBLE` of their area inside become don't-care.
        """
        (old_h, old_w), (new_h, new_w) = size_hw, self._scaled_hw(size_hw)
        factors, shift = torch.tensor([new_w / old_w, new_h / old_h] * 2), torch.tensor([*self.offset_xy] * 2)
        return clipped(replace(boxes, boxes_xyxy=boxes.boxes_xyxy * factors + shift), self.size_hw)

    def of_sample(self, sample: Sample) -> Sample:
        """Both."""
        image, boxes = sample
        return self.of_image(image), self.of_boxes(boxes, (image.shape[-2], image.shape[-1]))

    def _scaled_hw(self, size_hw: Sequence[int]) -> tuple[int, int]:
        height, width = size_hw
        return max(1, round(self.scale * height)), max(1, round(self.scale * width))


def clipped(boxes: LabeledBoxes, size_hw: tuple[int, int]) -> LabeledBoxes:
    """The boxes clipped to an image: boxes outside are dropped, mostly hidden ones become don't-care."""
    inside = clip_boxes_to_image(boxes.boxes_xyxy, size_hw)
    left = box_area(inside)
    is_seen = left >= VISIBLE * box_area(boxes.boxes_xyxy)
    return replace(boxes, boxes_xyxy=inside, weights=torch.where(is_seen, boxes.weights, 0.0))[left > 0]


def mosaic(samples: Sequence[Sample], generator: torch.Generator) -> Sample:
    """Four images in the quarters of one picture with the first one's size; they meet at a random point.

    Each is scaled, keeping its aspect ratio, until it covers its quarter, and shows the part next to the meeting point.

    Source: Bochkovskiy et al., YOLOv4 (2020), there with images of any scale.
    """
    assert len(samples) == 4
    height, width = samples[0][0].shape[-2:]
    middle, centre = (round(between(*CENTRE, generator) * side) for side in (width, height))
    quarters = [
        *((0, 0, middle, centre), (middle, 0, width, centre)),
        *((0, centre, middle, height), (middle, centre, width, height)),
    ]
    picture = torch.full((3, height, width), CANVAS)
    found: list[LabeledBoxes] = []
    for (image, boxes), (left, top, right, bottom) in zip(samples, quarters, strict=True):
        h, w = bottom - top, right - left
        scale = max(h / image.shape[-2], w / image.shape[-1])
        x = w - round(scale * image.shape[-1]) if left == 0 else 0
        y = h - round(scale * image.shape[-2]) if top == 0 else 0
        part, inside = Placement(scale, (x, y), (h, w)).of_sample((image, boxes))
        picture[:, top:bottom, left:right] = part
        found.append(replace(inside, boxes_xyxy=inside.boxes_xyxy + torch.tensor([left, top] * 2)))
    return picture, joined(found)


def joined(parts: Sequence[LabeledBoxes]) -> LabeledBoxes:
    """Concatenate boxes of one label space, without class scores."""
    names = ("boxes_xyxy", "labels", "scores", "weights", "annotation_ids")
    columns = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return LabeledBoxes(columns.pop("boxes_xyxy"), columns.pop("labels"), parts[0].space, **columns)
