"""Draw the pictures of these pages from the embedded benchmark: one street image under its three annotation protocols.

    python docs/make_figures.py DATA    (DATA: a folder made by `lat street-scenes DATA --annotators exact`)

writes protocols.jpg, and figures/{riders,hidden,classes}.jpg: what the protocols make of a part of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from lat.core.structures import LabeledBoxes
from lat.data.images import read_image
from lat.data.tensors import boxes_of
from lat.labels.coco.read import read_labels

IMAGE = 1  # index of an image of `city` with a truck behind a cyclist, two more riders and a child
SCALE = 3
COLOURS = ((40, 40, 220), (200, 110, 0), (0, 130, 0), (160, 0, 160), (0, 110, 200), (110, 70, 20), (30, 30, 30))  # BGR
FIGURES = {  # index of an image of `city`, and the part of it (x1, y1, x2, y2) where the protocols differ
    "riders": (1, (32, 54, 102, 124)),
    "hidden": (60, (104, 48, 184, 104)),
    "classes": (1, (96, 66, 166, 136)),
}
TITLES = {"city": "city: visible part, rider apart", "nu": "nu: full extent, with rider", "way": "way: 3 classes, with rider"}


def draw_boxes(image: np.ndarray, boxes: LabeledBoxes) -> np.ndarray:
    """The image, enlarged, with boxes and class names."""
    panel = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
    for (x1, y1, x2, y2), label in zip((boxes.boxes_xyxy * SCALE).round().int().tolist(), boxes.labels.tolist(), strict=True):
        colour, name = COLOURS[label], boxes.space.class_names[label]
        cv2.rectangle(panel, (x1, y1), (x2 - 1, y2 - 1), colour, 2, cv2.LINE_AA)
        (width, height), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
        left, top = min(x1, panel.shape[1] - width - 6), max(y1 - height - 6, 0)
        cv2.rectangle(panel, (left, top), (left + width + 6, top + height + 6), colour, -1)
        cv2.putText(panel, name, (left + 3, top + height + 2), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return panel


def with_title(panel: np.ndarray, title: str) -> np.ndarray:
    """The picture with a title above it."""
    header = np.full((30, panel.shape[1], 3), 255, np.uint8)
    cv2.putText(header, title, (6, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([header, panel])


def side_by_side(panels: list[np.ndarray]) -> np.ndarray:
    """Pictures of one height in a row, with gaps."""
    gap = np.full((panels[0].shape[0], 8, 3), 255, np.uint8)
    return np.hstack([part for panel in panels for part in (gap, panel)][1:])


def main(data: Path) -> None:
    """Write the pictures next to this file."""
    folder, here = data / "city", Path(__file__).parent
    tables = {name: read_labels(folder / ("train.json" if name == "city" else f"truth.{name}.json"), name) for name in TITLES}

    def panels(index: int) -> dict[str, np.ndarray]:
        image = read_image(folder / "images" / tables["city"].file_names[index])
        return {name: draw_boxes(image, boxes_of(tables[name], index)) for name in TITLES}

    whole = panels(IMAGE)
    cv2.imwrite(str(here / "protocols.jpg"), side_by_side([with_title(whole[name], TITLES[name]) for name in TITLES]))
    (here / "figures").mkdir(exist_ok=True)
    for figure, (index, part) in FIGURES.items():
        x1, y1, x2, y2 = (SCALE * side for side in part)
        cut = [with_title(panel[y1:y2, x1:x2], name) for name, panel in panels(index).items()]
        cv2.imwrite(str(here / "figures" / f"{figure}.jpg"), side_by_side(cut))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
