"""A contact sheet of parts of images with boxes: one row an object, one panel a set of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from lat.data.files import write_atomically
from lat.report.pictures import PANEL_SIDE, TAG_HEIGHT, Frame, Rectangle, place_tags
from lat.structures import LabeledBoxes

AROUND = 1.6  # side of a panel, in sides of the object
LEAST_SIDE = 48  # pixels
TITLE_HEIGHT = 24
COLOURS = ((40, 40, 220), (200, 110, 0), (0, 130, 0), (160, 0, 160), (0, 110, 200), (110, 70, 20), (30, 30, 30))  # BGR

SheetRow = tuple[Tensor, Tensor, Mapping[str, LabeledBoxes]]
"""An image (3, H, W) in [0, 1], the box (4,) xyxy to show, and labels of the image by title."""


def draw_sheet(path: Path, rows: Sequence[SheetRow]) -> None:
    """Write the sheet as PNG: a panel for each set of labels, side by side, of the square around the box of each row."""
    lines = []
    for image, box_xyxy, panels in rows:
        corner_xy, side = _square(box_xyxy)
        lines.append(np.hstack([_panel(image, corner_xy, side, title, boxes) for title, boxes in panels.items()]))
    encoded, content = cv2.imencode(".png", np.vstack(lines))
    assert encoded
    write_atomically(path, content.tobytes())


def _square(box_xyxy: Tensor) -> tuple[tuple[int, int], int]:
    """Upper left corner and side of the square to show, in pixels; it may leave the image."""
    side = max(round(float((box_xyxy[2:] - box_xyxy[:2]).max()) * AROUND), LEAST_SIDE)
    x, y = ((box_xyxy[:2] + box_xyxy[2:]) / 2 - side / 2).round().int().tolist()
    return (x, y), side


def _panel(image: Tensor, corner_xy: tuple[int, int], side: int, title: str, boxes: LabeledBoxes) -> np.ndarray:
    """(H, W, 3) uint8 BGR: the square, enlarged, with the boxes that lie in it at least by half."""
    pixels = cv2.cvtColor((image * 255).round().byte().permute(1, 2, 0).numpy(), cv2.COLOR_RGB2BGR)
    (x, y), units = corner_xy, round(PANEL_SIDE)
    padded = cv2.copyMakeBorder(pixels, side, side, side, side, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    panel = cv2.resize(padded[y + side : y + 2 * side, x + side : x + 2 * side], (units, units), interpolation=cv2.INTER_NEAREST)
    frame = Frame((side, side))
    moved = boxes.boxes_xyxy - torch.tensor([x, y, x, y])
    inside = moved.clamp(0, side)
    share = (inside[:, 2:] - inside[:, :2]).prod(dim=1) / (moved[:, 2:] - moved[:, :2]).prod(dim=1)
    shown = (share >= 0.5).nonzero().flatten().tolist()
    names = [boxes.space.class_names[int(boxes.labels[row])] for row in shown]
    areas = [frame.place(inside[row].tolist()) for row in shown]
    texts = [(f"{name} {float(boxes.scores[row]):.2f}", name) for name, row in zip(names, shown, strict=True)]
    colours = [COLOURS[int(boxes.labels[row]) % len(COLOURS)] for row in shown]
    for area, colour in zip(areas, colours, strict=True):
        _rectangle(panel, area, colour, 2)
    for tag, colour in zip(place_tags(areas, texts, frame), colours, strict=True):
        _rectangle(panel, tag.area, colour, cv2.FILLED)
        _write(panel, tag.text, (tag.area.x + 3, tag.area.y + TAG_HEIGHT - 4), (255, 255, 255))
    header = np.full((TITLE_HEIGHT, units, 3), 255, np.uint8)
    _write(header, title, (4, TITLE_HEIGHT - 7), (0, 0, 0))
    return cv2.copyMakeBorder(np.vstack([header, panel]), 0, 6, 0, 6, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def _rectangle(panel: np.ndarray, area: Rectangle, colour: tuple[int, int, int], thickness: int) -> None:
    corner = (round(area.x + area.width) - 1, round(area.y + area.height) - 1)
    cv2.rectangle(panel, (round(area.x), round(area.y)), corner, colour, thickness)


def _write(panel: np.ndarray, text: str, origin_xy: tuple[float, float], colour: tuple[int, int, int]) -> None:
    place = (round(origin_xy[0]), round(origin_xy[1]))
    cv2.putText(panel, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
