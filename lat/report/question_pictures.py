"""Pictures for questions about classes: some objects of a class, each with its human box."""

from __future__ import annotations

import cv2
import numpy as np

from lat.data.dataset import DetectionDataset
from lat.report.crops import example_rows
from lat.report.pictures import jpeg_of

SIDE, GAP = 220, 6  # pixels of each crop, and between two
AROUND = 0.35  # of a box's longer side that is shown around it
_GROUND, _LINE = 128, (255, 209, 0)


def question_picture(dataset: DetectionDataset, label: int) -> bytes | None:
    """A JPEG of up to four objects of a class side by side, with their boxes in yellow; None if the class has no box.

    Raises:
        InputError: if an image is missing or cannot be decoded.
    """
    rows = example_rows(dataset, label)
    if not rows:
        return None
    strip = np.full((SIDE, len(rows) * (SIDE + GAP) - GAP, 3), _GROUND, dtype=np.uint8)
    for place, row in enumerate(rows):
        image = int(np.searchsorted(dataset.labels.offsets, row, side="right")) - 1
        pixels = (dataset.image(image).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        left = place * (SIDE + GAP)
        strip[:, left : left + SIDE] = _surroundings(pixels, dataset.labels.boxes_xyxy[row].astype(np.float64))
    return jpeg_of(strip, strip.shape[1])


def _surroundings(pixels: np.ndarray, box_xyxy: np.ndarray) -> np.ndarray:
    """The square around a box (4,) of an image (H, W, 3) uint8, as (SIDE, SIDE, 3) uint8; grey where the image ends."""
    side = max(float((box_xyxy[2:] - box_xyxy[:2]).max()), 1.0) * (1 + 2 * AROUND)
    scale, corner = SIDE / side, (box_xyxy[:2] + box_xyxy[2:] - side) / 2
    onto = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
    crop = cv2.warpAffine(pixels, onto, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderValue=(_GROUND,) * 3)
    low, high = (((point - corner) * scale).round().astype(int).tolist() for point in (box_xyxy[:2], box_xyxy[2:]))
    cv2.rectangle(crop, low, high, _LINE, 2)
    return np.asarray(crop)
