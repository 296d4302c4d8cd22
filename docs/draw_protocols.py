"""Draw docs/protocols.jpg: one street image, annotated under the three protocols of the embedded benchmark.

python docs/draw_protocols.py DATA    (DATA: a folder made by `lat street-scenes DATA`)
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from lat.data.coco import read_labels
from lat.data.images import read_image
from lat.data.label_table import LabelTable

IMAGE = 1  # index of an image of `city` with a truck behind a cyclist, two more riders and a child
SCALE = 3
COLOURS = ((40, 40, 220), (200, 110, 0), (0, 130, 0), (160, 0, 160), (0, 110, 200), (110, 70, 20), (30, 30, 30))  # BGR
TITLES = {"city": "city: visible part, rider apart", "nu": "nu: full extent, with rider", "way": "way: 3 classes, with rider"}


def draw_panel(image: np.ndarray, table: LabelTable, title: str) -> np.ndarray:
    """The image, enlarged, with boxes and class names, and a title above it."""
    panel = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
    boxes = table.boxes(IMAGE)
    for (x1, y1, x2, y2), label in zip((boxes.boxes_xyxy * SCALE).round().int().tolist(), boxes.labels.tolist(), strict=True):
        colour, name = COLOURS[label], table.space.class_names[label]
        cv2.rectangle(panel, (x1, y1), (x2 - 1, y2 - 1), colour, 2, cv2.LINE_AA)
        (width, height), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
        left, top = min(x1, panel.shape[1] - width - 6), max(y1 - height - 6, 0)
        cv2.rectangle(panel, (left, top), (left + width + 6, top + height + 6), colour, -1)
        cv2.putText(panel, name, (left + 3, top + height + 2), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    header = np.full((30, panel.shape[1], 3), 255, np.uint8)
    cv2.putText(header, title, (6, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([header, panel])


def main(data: Path) -> None:
    """Write the picture next to this file."""
    folder = data / "city"
    tables = {name: read_labels(folder / ("train.json" if name == "city" else f"truth.{name}.json"), name) for name in TITLES}
    own = tables["city"]
    image = read_image(folder / "images" / own.file_names[IMAGE])
    gap = np.full((image.shape[0] * SCALE + 30, 8, 3), 255, np.uint8)
    first, *others = [draw_panel(image, tables[name], title) for name, title in TITLES.items()]
    cv2.imwrite(
        str(Path(__file__).with_name("protocols.jpg")), np.hstack([first, *(x for other in others for x in (gap, other))])
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
