"""Label Studio: tasks with the labels as predictions, with scores, and the configuration that shows them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from lat.data.dataset import DetectionDataset
from lat.formats.exports.columns import MIN_SCORE, remarks
from lat.formats.exports.layout import ExportFormat, Split, keep_names, require_xml_names

CONFIG = "label_config.xml"
LABELS_NAME, IMAGE_NAME = "label", "image"
LOCAL_FILES = "/data/local-files/?d="
"""How Label Studio addresses a file below its document root, which must be the folder of the export."""


def write(folder: Path, splits: Sequence[Split]) -> None:
    """Write `tasks_PART.json` and `label_config.xml`; images are addressed as files below the export.

    Raises:
        InputError: if XML cannot represent a class name.
    """
    require_xml_names(splits[0])
    view = Element("View")
    SubElement(view, "Image", name=IMAGE_NAME, value="$image", zoom="true")
    labels = SubElement(view, "RectangleLabels", name=LABELS_NAME, toName=IMAGE_NAME)
    for name in splits[0].dataset.space.class_names:
        SubElement(labels, "Label", value=name)
    ElementTree.indent(view)
    ElementTree.ElementTree(view).write(folder / CONFIG, encoding="utf-8")
    for split in splits:
        tasks = [_task(split, i) for i in range(len(split.dataset))]
        content = json.dumps(tasks, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        (folder / f"tasks_{split.name}.json").write_text(content + "\n", encoding="utf-8")


def _task(split: Split, i: int) -> dict[str, Any]:
    table = split.dataset.labels
    rows = range(*table.rows(i).indices(table.num_boxes))
    scores = table.scores[table.rows(i)]
    prediction = {
        "model_version": str(table.info.get("method", table.path.stem)),
        "score": round(float(scores.min()), 6) if len(scores) else 0.0,  # the least certain box; tasks are sorted by it
        "result": [_region(split, i, row) for row in rows],
    }
    data = {
        "image": LOCAL_FILES + quote(split.images[i]),
        "image_id": int(table.image_ids[i]),
        "file_name": table.file_names[i],
        MIN_SCORE: split.min_score,
    }
    return {"data": data, "predictions": [prediction]}


def _region(split: Split, i: int, row: int) -> dict[str, Any]:
    """A box as shares of its image in percent; its id names the annotation, and Label Studio keeps it."""
    table = split.dataset.labels
    height, width = table.sizes_hw[i].tolist()
    x1, y1, x2, y2 = table.boxes_xyxy[row].tolist()
    sides = {"x": x1 / width, "y": y1 / height, "width": (x2 - x1) / width, "height": (y2 - y1) / height}
    name = table.space.class_names[table.labels[row]]
    said = remarks(table, row, split.doubts)
    return {
        "id": f"annotation-{said['annotation_id']}",
        "type": "rectanglelabels",
        "from_name": LABELS_NAME,
        "to_name": IMAGE_NAME,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {**{key: 100 * share for key, share in sides.items()}, "rotation": 0, "rectanglelabels": [name]},
        "score": said["score"],
        "meta": said,
    }


def losses(datasets: Sequence[DetectionDataset]) -> list[str]:
    """Class scores."""
    has_vectors = any(dataset.labels.class_scores is not None for dataset in datasets)
    return ["class scores are left out"] if has_vectors else []


FORMAT = ExportFormat(keep_names, write, losses)
