"""Corrections from Label Studio: its export named JSON, with the annotations of each task."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Required, TypedDict

from lat.core.documents import checked
from lat.core.errors import InputError
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

_REMEDY = "export the project as 'JSON' (not JSON-MIN)"
_ID_PREFIX = "annotation-"


class _Region(TypedDict, total=False):
    meta: dict[str, Any] | None


class _Annotation(TypedDict, total=False):
    result: list[_Region] | None


class _Task(TypedDict, total=False):
    data: Required[dict[str, Any]]
    annotations: list[_Annotation] | None


def read(path: Path, field: str = "") -> Corrections:
    """Read the last annotation of each submitted task; boxes are shares of the image.

    Label Studio has no label fields: `field` is ignored.

    Raises:
        InputError: if the file is missing or not in this format, or a box is rotated.
    """
    tasks = read_json(path, Any, _REMEDY)
    if not isinstance(tasks, list):
        raise InputError(path, "is not a list of tasks", _REMEDY)
    checked(path, tasks, list[_Task], _REMEDY)
    images, several, others = [], 0, 0
    for task in tasks:
        submitted = [one for one in task.get("annotations") or () if not one.get("was_cancelled")]
        if not submitted:
            continue
        several += len(submitted) > 1
        regions = submitted[-1].get("result") or ()
        rectangles = [region for region in regions if region.get("type") == "rectanglelabels"]
        others += len(regions) - len(rectangles)
        images.append(_image(path, task, rectangles))
    notes = [f"{several} tasks have several annotations; the last one of each is used"] if several else []
    notes += [f"{others} regions that are not rectangles are left out"] if others else []
    return Corrections(path, tuple(images), tuple(notes))


def _image(path: Path, task: dict[str, Any], regions: list[dict[str, Any]]) -> CorrectedImage:
    data = task["data"]
    name = str(data.get("file_name") or data.get("image") or "")
    item = f"task {task.get('id', '?')} ('{name}')"
    boxes = tuple(_box(path, item, region) for region in regions)
    image_id, min_score = as_id(data.get("image_id")), as_score(data.get(MIN_SCORE))
    return CorrectedImage(item, name, boxes, is_relative=True, image_id=image_id, min_score=min_score)


def _box(path: Path, item: str, region: dict[str, Any]) -> CorrectedBox:
    value = region.get("value")
    labels = value.get("rectanglelabels") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(labels, list) or len(labels) != 1:
        raise InputError(path, f"{item}: a rectangle does not have exactly one label", "give it one in Label Studio")
    if value.get("rotation"):
        raise InputError(
            path, f"{item}: a rectangle of '{labels[0]}' is rotated", "only upright boxes are supported: rotate it back"
        )
    x, y, width, height = as_box(path, item, [value.get(key) for key in ("x", "y", "width", "height")])
    said = region.get("meta") or {}
    kept = as_id(said.get("annotation_id")) or as_id(str(region.get("id", "")).removeprefix(_ID_PREFIX))
    corners = (x / 100, y / 100, (x + width) / 100, (y + height) / 100)
    return CorrectedBox(str(labels[0]), corners, kept, said.get("iscrowd") == 1)


FORMAT = CorrectionFormat(read, "project.json")
