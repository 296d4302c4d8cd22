"""Paint back to front, so that visible and full extents are both known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lat.street_scenes.scene import Placement

Color = tuple[int, int, int]
SUBPIXEL_BITS = 4


@dataclass(frozen=True, eq=False)
class Patch:
    """A polygon of one colour, part of a drawn object.

    Attributes:
        contours: (n, 2) float arrays in metres: x to the right of the ground point when facing right, y above the ground.
            Points inside an even number of contours are not painted, so a second contour is a hole.
        color: RGB.
    """

    contours: tuple[np.ndarray, ...]
    color: Color


@dataclass(frozen=True, eq=False)
class Extent:
    """The pixels of one object: `visible` (H, W) bool, and `full` (H, W) bool as if nothing hid it, cut at the border."""

    visible: np.ndarray
    full: np.ndarray

    def __or__(self, other: Extent) -> Extent:
        """The extent of both objects together: neither hides the other."""
        return Extent(self.visible | other.visible, self.full | other.full)

    @property
    def visible_share(self) -> float:
        """Ratio of visible to full pixels; 0 for an object entirely outside the image."""
        return float(self.visible.sum() / max(1, self.full.sum()))


class Canvas:
    """An image (H, W, 3) uint8 RGB, and for each pixel the number of the object seen there (0: backdrop or clutter)."""

    def __init__(self, backdrop: np.ndarray) -> None:
        self.image = backdrop
        self._owner = np.zeros(backdrop.shape[:2], dtype=np.int16)
        self._full_masks: list[np.ndarray] = []

    def paint(self, patches: Sequence[Patch], placement: Placement) -> int:
        """Paint an object in front of all others and return its number, 1 for the first."""
        mask = self._fill(patches, placement)
        self._full_masks.append(mask)
        self._owner[mask] = len(self._full_masks)
        return len(self._full_masks)

    def paint_clutter(self, patches: Sequence[Patch], placement: Placement) -> None:
        """Paint something that hides what is behind it and that no protocol labels."""
        self._owner[self._fill(patches, placement)] = 0

    def paint_shadow(self, placement: Placement, width_metres: float) -> None:
        """Darken the ground under an object; a shadow hides nothing."""
        scale = placement.pixels_per_metre
        shade = np.zeros(self._owner.shape, dtype=np.uint8)
        center = (round(placement.x_ground), round(placement.y_ground))
        cv2.ellipse(shade, center, (max(1, round(width_metres * scale * 0.5)), max(1, round(0.12 * scale))), 0, 0, 360, 1, -1)
        dark = shade.astype(bool)
        self.image[dark] = (self.image[dark] * 0.6).astype(np.uint8)

    def extent(self, number: int) -> Extent:
        """The currently visible and the full extent of an object."""
        return Extent(self._owner == number, self._full_masks[number - 1])

    def _fill(self, patches: Sequence[Patch], placement: Placement) -> np.ndarray:
        """Fill the patches in the image, in order; return the pixels they touch, (H, W) bool."""
        mask = np.zeros(self._owner.shape, dtype=np.uint8)
        for patch in patches:
            contours = [_to_pixels(contour, placement) for contour in patch.contours]
            cv2.fillPoly(self.image, contours, patch.color, shift=SUBPIXEL_BITS)
            cv2.fillPoly(mask, contours, (1,), shift=SUBPIXEL_BITS)
        return mask.astype(bool)


def _to_pixels(contour: np.ndarray, placement: Placement) -> np.ndarray:
    """Metres (n, 2) to OpenCV's fixed-point pixel centres (n, 2) int32: pixel i spans i to i + 1, OpenCV's centre is i."""
    direction = -1.0 if placement.faces_left else 1.0
    x = placement.x_ground + direction * placement.pixels_per_metre * contour[:, 0]
    y = placement.y_ground - placement.pixels_per_metre * contour[:, 1]
    result: np.ndarray = np.round((np.stack([x, y], axis=1) - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)
    return result
