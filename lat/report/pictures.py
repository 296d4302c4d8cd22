"""Pictures as data URIs, and boxes laid out over them in the units of a panel.

A panel is `PANEL_SIDE` units wide and at most as high; text sizes are given in the same units, so labels are equally
legible over small and large images. The image is embedded once; every panel refers to it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import east_asian_width

import cv2
import numpy as np
from torch import Tensor

PANEL_SIDE = 400.0
TAG_HEIGHT = 15.0
TAG_LETTERS = 18
_FONT_SIZE = 11.0
_LETTER_WIDTH = 0.62 * _FONT_SIZE
_JPEG_QUALITY = 88


@dataclass(frozen=True)
class Rectangle:
    """A rectangle in panel units."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Rectangle) -> bool:
        """Whether the two share some area."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


@dataclass(frozen=True)
class Tag:
    """A short text on a coloured ground beside its box."""

    area: Rectangle
    text: str


@dataclass(frozen=True)
class Frame:
    """How an image of `size_hw` pixels lies in its panel: centred, as large as fits into a square of `PANEL_SIDE`."""

    size_hw: tuple[int, int]

    @property
    def scale(self) -> float:
        """Panel units per pixel."""
        return PANEL_SIDE / max(self.size_hw)

    @property
    def image(self) -> Rectangle:
        """Where the image lies."""
        height, width = (side * self.scale for side in self.size_hw)
        return Rectangle((PANEL_SIDE - width) / 2, 0.0, width, height)

    def place(self, box_xyxy: Sequence[float]) -> Rectangle:
        """The box (pixels of the image) in panel units, at least one unit wide and high so that it can be seen."""
        x1, y1, x2, y2 = (float(side) * self.scale for side in box_xyxy)
        return Rectangle(self.image.x + x1, y1, max(x2 - x1, 1.0), max(y2 - y1, 1.0))


def embed_image(image: Tensor, longest_side: int) -> str:
    """A JPEG of the image as a data URI.

    Args:
        image: (3, H, W) float32 RGB in [0, 1].
        longest_side: pixels; larger images are scaled down to it, smaller ones stay as they are.
    """
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    factor = longest_side / max(pixels.shape[:2])
    if factor < 1:
        size_wh = [max(round(side * factor), 1) for side in (pixels.shape[1], pixels.shape[0])]
        pixels = cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA)
    encoded, jpeg = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert encoded, "OpenCV could not encode a JPEG"
    return "data:image/jpeg;base64," + base64.b64encode(np.asarray(jpeg).tobytes()).decode("ascii")


def place_tags(boxes: Sequence[Rectangle], texts: Sequence[tuple[str, str]], frame: Frame) -> list[Tag]:
    """One tag for each box, placed greedily so that tags cover neither each other nor leave the panel where possible.

    Args:
        boxes: boxes in panel units.
        texts: for each box its full text and a shorter one for where the full text finds no room.
        frame: the panel.
    """
    tags: list[Tag] = []
    for box, candidates in zip(boxes, texts, strict=True):
        tags.append(_place_tag(box, candidates, frame.image.height, tags))
    return tags


def _place_tag(box: Rectangle, texts: tuple[str, str], panel_height: float, taken: Sequence[Tag]) -> Tag:
    for text in texts:
        for area in _positions(box, _text_width(text), panel_height):
            if not any(area.overlaps(tag.area) for tag in taken):
                return Tag(area, text)
    return Tag(next(iter(_positions(box, _text_width(texts[-1]), panel_height))), texts[-1])


def _positions(box: Rectangle, width: float, panel_height: float) -> list[Rectangle]:
    """Above, below, then inside the box; flush left, then flush right; clamped to the panel."""
    lefts, bottom = (box.x, box.x + box.width - width), box.y + box.height
    places: list[Rectangle] = []
    for y in (box.y - TAG_HEIGHT, bottom, box.y, bottom - TAG_HEIGHT):
        for x in lefts:
            area = Rectangle(min(max(x, 0.0), max(PANEL_SIDE - width, 0.0)), y, width, TAG_HEIGHT)
            if 0 <= y <= panel_height - TAG_HEIGHT:
                places.append(area)
    if places:
        return places
    return [Rectangle(min(max(box.x, 0.0), max(PANEL_SIDE - width, 0.0)), 0.0, width, TAG_HEIGHT)]


def _text_width(text: str) -> float:
    """A generous estimate, for the reader's font is unknown."""
    letters = sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
    return letters * _LETTER_WIDTH + 6


def shorten(text: str, letters: int = TAG_LETTERS) -> str:
    """The text, cut to so many letters with an ellipsis where it is longer."""
    return text if len(text) <= letters else text[: letters - 1] + "…"
