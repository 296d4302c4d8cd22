"""FiftyOne: one dataset with a field for each set of labels, in FiftyOne's layout; FiftyOne itself is not needed to write it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lat.data.dataset import DetectionDataset
from lat.formats.exports.columns import MIN_SCORE, remarks
from lat.formats.exports.layout import ExportFormat, Split, keep_names
from lat.labels.table import LabelTable

FIELDS = {"label_transfer": "transferred", "pseudo_label": "pseudo"}
"""The field of labels by the method that their `info` names; any others are ground truth."""


def field_of(table: LabelTable) -> str:
    """The name of the field with the labels of a table."""
    return FIELDS.get(str(table.info.get("method", "")), "ground_truth")


def write(folder: Path, splits: Sequence[Split]) -> None:
    """Write `samples.json` and `metadata.json`: what FiftyOne reads as a `LegacyFiftyOneDataset`; parts are tags of samples."""
    samples = [_sample(split, i) for split in splits for i in range(len(split.dataset))]
    layers = _layers(splits[0])
    classes = {name: list(table.space.class_names) for name, table in layers.items()}
    metadata = {"name": splits[0].dataset.name, "media_type": "image", "info": {"classes": classes}}
    for name, content in (("samples.json", {"samples": samples}), ("metadata.json", metadata)):
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        (folder / name).write_text(text + "\n", encoding="utf-8")


def _layers(split: Split) -> Mapping[str, LabelTable]:
    return {field_of(split.dataset.labels): split.dataset.labels, **split.layers}


def _sample(split: Split, i: int) -> dict[str, Any]:
    table = split.dataset.labels
    height, width = table.sizes_hw[i].tolist()
    return {
        "filepath": split.images[i],
        "tags": [split.name],
        "metadata": {"_cls": "ImageMetadata", "width": width, "height": height, "num_channels": 3},
        "image_id": int(table.image_ids[i]),
        "file_name": table.file_names[i],
        MIN_SCORE: split.min_score,
        **{name: detections(layer, i, _doubts(split, layer)) for name, layer in _layers(split).items()},
    }


def _doubts(split: Split, layer: LabelTable) -> Mapping[int, float]:
    """Those of the labels of the split itself, and none of other layers."""
    return split.doubts if layer is split.dataset.labels else {}


def detections(table: LabelTable, i: int, doubts: Mapping[int, float] = MappingProxyType({})) -> dict[str, Any]:
    """The boxes of image `i` as FiftyOne has them: (x, y, width, height), shares of the image; doubts are by annotation id."""
    (height, width), found = table.sizes_hw[i].tolist(), []
    for row in range(*table.rows(i).indices(table.num_boxes)):
        x1, y1, x2, y2 = table.boxes_xyxy[row].tolist()
        said = remarks(table, row, doubts)
        found.append(
            {
                "_cls": "Detection",
                "label": table.space.class_names[table.labels[row]],
                "bounding_box": [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height],
                "confidence": said.pop("score"),
                **said,
            }
        )
    return {"_cls": "Detections", "detections": found}


def losses(datasets: Sequence[DetectionDataset]) -> list[str]:
    """Class scores."""
    has_vectors = any(dataset.labels.class_scores is not None for dataset in datasets)
    return ["class scores are left out"] if has_vectors else []


FORMAT = ExportFormat(keep_names, write, losses, has_layers=True)
