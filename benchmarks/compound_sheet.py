"""A contact sheet of image crops with boxes: one row per object, one panel per set of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_area
from torchvision.utils import draw_bounding_boxes

from lat.core.files import write_atomically
from lat.core.structures import LabeledBoxes

AROUND = 1.6  # side of a panel, in sides of the object
LEAST_SIDE = 48  # pixels
PANEL_SIDE = 400  # pixels of the sheet
TITLE_HEIGHT = 24
COLOURS = ((220, 40, 40), (0, 110, 200), (0, 130, 0), (160, 0, 160), (200, 110, 0), (20, 70, 110), (30, 30, 30))  # RGB

SheetRow = tuple[Tensor, Tensor, Mapping[str, LabeledBoxes]]
"""An image (3, H, W) in [0, 1], the box (4,) xyxy to show, and the image's labels by title."""


def draw_sheet(path: Path, rows: Sequence[SheetRow]) -> None:
    """Write the sheet as PNG: for each row, one panel per set of labels, showing the square around the row's box."""
    lines = []
    for image, box_xyxy, panels in rows:
        corner_xy, side = _square(box_xyxy)
        lines.append(np.hstack([_panel(image, corner_xy, side, title, boxes) for title, boxes in panels.items()]))
    encoded, content = cv2.imencode(".png", np.vstack(lines))
    assert encoded
    write_atomically(path, content.tobytes())


def _square(box_xyxy: Tensor) -> tuple[tuple[int, int], int]:
    """Upper left corner and side of the square to show, in pixels; may extend beyond the image."""
    side = max(round(float((box_xyxy[2:] - box_xyxy[:2]).max()) * AROUND), LEAST_SIDE)
    x, y = ((box_xyxy[:2] + box_xyxy[2:]) / 2 - side / 2).round().int().tolist()
    return (x, y), side


def _panel(image: Tensor, corner_xy: tuple[int, int], side: int, title: str, boxes: LabeledBoxes) -> np.ndarray:
    """(H, W, 3) uint8 BGR: the enlarged square, with the boxes that lie in it at least by half."""
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    x, y = corner_xy
    padded = cv2.copyMakeBorder(pixels, side, side, side, side, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    square = padded[y + side : y + 2 * side, x + side : x + 2 * side]
    panel = torch.from_numpy(cv2.resize(square, (PANEL_SIDE, PANEL_SIDE), interpolation=cv2.INTER_NEAREST)).permute(2, 0, 1)
    moved = boxes.boxes_xyxy - torch.tensor([x, y, x, y])
    inside = moved.clamp(0, side)
    shown = (box_area(inside) >= 0.5 * box_area(moved)).nonzero().flatten()
    if len(shown):
        labels = boxes.labels[shown].tolist()
        texts = [
            f"{boxes.space.class_names[k]} {score:.2f}" for k, score in zip(labels, boxes.scores[shown].tolist(), strict=True)
        ]
        colours = [COLOURS[k % len(COLOURS)] for k in labels]
        drawn = inside[shown] * (PANEL_SIDE / side)
        panel = draw_bounding_boxes(panel, drawn, texts, colours, width=2, fill_labels=True, label_colors="white")
    header = np.full((TITLE_HEIGHT, PANEL_SIDE, 3), 255, np.uint8)
    cv2.putText(header, title, (4, TITLE_HEIGHT - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    whole = np.vstack([header, cv2.cvtColor(panel.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2BGR)])
    return cv2.copyMakeBorder(whole, 0, 6, 0, 6, cv2.BORDER_CONSTANT, value=(255, 255, 255))
