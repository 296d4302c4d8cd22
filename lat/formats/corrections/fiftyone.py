"""Corrections from FiftyOne: a dataset that it exported as `LegacyFiftyOneDataset` or `FiftyOneDataset`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lat.core.documents import checked
from lat.core.errors import InputError, did_you_mean
from lat.formats.corrections.corrected import (
    CorrectedBox,
    CorrectedImage,
    CorrectionFormat,
    Corrections,
    as_box,
    as_id,
    as_score,
    read_json,
)
from lat.formats.exports.columns import MIN_SCORE

_REMEDY = "export the dataset from FiftyOne with dataset_type=fiftyone.types.LegacyFiftyOneDataset"


def read(path: Path, field: str) -> Corrections:
    """Read one label field of every sample; boxes are shares of the image.

    Args:
        path: the folder of the export, or its `samples.json`.
        field: name of the field.

    Raises:
        InputError: if the file is missing or not in this format, or no sample has the field.
    """
    path = path / "samples.json" if path.is_dir() else path
    content = read_json(path, Any, _REMEDY)
    samples = content.get("samples") if isinstance(content, dict) else None
    if not isinstance(samples, list):
        raise InputError(path, "holds no samples", _REMEDY)
    checked(path, samples, list[dict[str, Any]], _REMEDY, "samples")
    fields = {name for sample in samples for name, value in sample.items() if _is_detections(value)}
    if samples and field not in fields:
        raise InputError(path, f"no sample has detections in the field '{field}'", did_you_mean(field, sorted(fields)))
    return Corrections(path, tuple(_image(path, sample, field) for sample in samples))


def _is_detections(value: object) -> bool:
    return isinstance(value, dict) and value.get("_cls") == "Detections"


def _image(path: Path, sample: dict[str, Any], field: str) -> CorrectedImage:
    name = str(sample.get("file_name") or sample.get("filepath") or "")
    found = sample.get(field)
    detections = found.get("detections") or [] if isinstance(found, dict) else []
    checked(path, detections, list[dict[str, Any]], _REMEDY, f"sample '{name}': detections")
    boxes = tuple(_box(path, f"sample '{name}'", detection) for detection in detections)
    image_id, min_score = as_id(sample.get("image_id")), as_score(sample.get(MIN_SCORE))
    return CorrectedImage(f"sample '{name}'", name, boxes, is_relative=True, image_id=image_id, min_score=min_score)


def _box(path: Path, item: str, detection: dict[str, Any]) -> CorrectedBox:
    x, y, width, height = as_box(path, item, detection.get("bounding_box"))
    corners = (x, y, x + width, y + height)
    return CorrectedBox(
        str(detection.get("label")), corners, as_id(detection.get("annotation_id")), detection.get("iscrowd") == 1
    )


FORMAT = CorrectionFormat(read, "FOLDER", has_fields=True)
