"""Example crops of classes: small strips of pictures for judging a relation by eye."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from lat.data.dataset import DetectionDataset
from lat.report.pictures import embed_image

CROPS, CROP_SIDE, CROP_GAP = 4, 56, 4
STRIP_WIDTH, STRIP_HEIGHT = CROPS * CROP_SIDE + (CROPS - 1) * CROP_GAP, CROP_SIDE
GROUND = 0.5  # grey value around crops that are not square


def class_strips(dataset: DetectionDataset) -> dict[str, str]:
    """For each class with boxes, a JPEG data URI of up to `CROPS` crops side by side, `STRIP_WIDTH` x `STRIP_HEIGHT` pixels."""
    strips = {}
    for label, name in enumerate(dataset.space.class_names):
        rows = example_rows(dataset, label)
        if rows:
            strips[name] = embed_image(_strip(dataset, rows), STRIP_WIDTH)
    return strips


def example_rows(dataset: DetectionDataset, label: int) -> list[int]:
    """Up to `CROPS` annotation rows of a class: evenly spaced among the larger half of its boxes, crowds left out.

    The larger half because tiny boxes show nothing; not only the largest because they look alike. The choice is deterministic.
    """
    table = dataset.labels
    rows = np.flatnonzero((table.labels == label) & ~table.is_crowd)
    if not len(rows):
        return []
    sides = table.boxes_xyxy[rows, 2:] - table.boxes_xyxy[rows, :2]
    largest = np.sort(rows[np.argsort(-sides.prod(axis=1), kind="stable")][: max(len(rows) // 2, min(CROPS, len(rows)))])
    return [int(largest[i]) for i in np.unique(np.linspace(0, len(largest) - 1, CROPS).round().astype(int))]


def _strip(dataset: DetectionDataset, rows: list[int]) -> Tensor:
    strip = torch.full((3, STRIP_HEIGHT, STRIP_WIDTH), GROUND)
    for place, row in enumerate(rows):
        image = int(np.searchsorted(dataset.labels.offsets, row, side="right")) - 1
        left = place * (CROP_SIDE + CROP_GAP)
        strip[:, :, left : left + CROP_SIDE] = square_crop(dataset.image(image), dataset.labels.boxes_xyxy[row])
    return strip


def square_crop(image: Tensor, box_xyxy: np.ndarray) -> Tensor:
    """The crop of a box of the image (3, H, W), scaled to fit into (3, CROP_SIDE, CROP_SIDE) on grey."""
    x1, y1 = np.floor(box_xyxy[:2]).astype(int).clip(min=0)
    x2, y2 = np.ceil(box_xyxy[2:]).astype(int)
    pixels = image[:, y1:y2, x1:x2].permute(1, 2, 0).numpy()
    scale = CROP_SIDE / max(pixels.shape[:2])
    size_wh = [max(round(side * scale), 1) for side in (pixels.shape[1], pixels.shape[0])]
    resized = torch.from_numpy(cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))
    top, left = (CROP_SIDE - size_wh[1]) // 2, (CROP_SIDE - size_wh[0]) // 2
    square = torch.full((3, CROP_SIDE, CROP_SIDE), GROUND)
    square[:, top : top + size_wh[1], left : left + size_wh[0]] = resized.permute(2, 0, 1)
    return square
