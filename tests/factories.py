"""Small things that tests are made of, from plain lists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.data.data_settings import DatasetSettings
from lat.engine.training_settings import SharedTrainSettings, Training, TrainSettings


def label_space(name: str = "city", class_names: Sequence[str] = ("car", "truck"), ids: Sequence[int] = ()) -> LabelSpace:
    """A label space; category ids are 1..K unless given."""
    return LabelSpace(name, tuple(class_names), tuple(ids) or tuple(range(1, len(class_names) + 1)))


def labeled_boxes(
    space: LabelSpace,
    boxes_xyxy: Sequence[Sequence[float]],
    labels: Sequence[int] | None = None,
    scores: Sequence[float] | None = None,
    class_scores: Sequence[Sequence[float]] | None = None,
    **columns: Sequence[float],
) -> LabeledBoxes:
    """Boxes from lists; labels are 0 unless given, `columns` may hold weights and annotation_ids."""
    n = len(boxes_xyxy)
    more = {
        name: torch.tensor(values, dtype=torch.int64 if name == "annotation_ids" else torch.float32)
        for name, values in columns.items()
    }
    return LabeledBoxes(
        torch.tensor(boxes_xyxy, dtype=torch.float32).reshape(n, 4),
        torch.tensor([0] * n if labels is None else labels, dtype=torch.int64),
        space,
        scores=None if scores is None else torch.tensor(scores, dtype=torch.float32),
        class_scores=None if class_scores is None else torch.tensor(class_scores, dtype=torch.float32).reshape(n, len(space)),
        **more,
    )


def coco_dict(
    boxes_xywh: Sequence[Sequence[Sequence[float]]] = (((2, 3, 10, 8), (20, 5, 6, 12)), ((4, 4, 5, 5),)),
    category_ids: Sequence[Sequence[int]] | None = None,
    *,
    space: LabelSpace | None = None,
    size_hw: tuple[int, int] = (32, 48),
    splits: Sequence[str] | None = None,
) -> dict[str, Any]:
    """A sound COCO document: one image an entry of `boxes_xywh`, ids from 1, category ids the first unless given."""
    space = space or label_space()
    height, width = size_hw
    images: list[dict[str, Any]] = [
        {"id": i, "file_name": f"{i:03d}.png", "width": width, "height": height} for i in range(1, len(boxes_xywh) + 1)
    ]
    for image, split in zip(images, splits or [], strict=False):
        image["split"] = split
    annotations: list[dict[str, Any]] = []
    for i, image_boxes in enumerate(boxes_xywh):
        for j, box in enumerate(image_boxes):
            category_id = space.category_ids[0] if category_ids is None else category_ids[i][j]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i + 1,
                    "category_id": category_id,
                    "bbox": list(box),
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    return {"info": {}, "images": images, "categories": space.categories(), "annotations": annotations}


def write_json(path: Path, value: object) -> Path:
    """Write a value as JSON (NaN included, as careless tools do) and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def draw_images(folder: Path, document: dict[str, Any]) -> None:
    """Draw each image of a COCO document: noise, and a filled rectangle for each box, its colour by category."""
    generator = np.random.default_rng(0)
    for image in document["images"]:
        pixels = generator.integers(0, 60, (image["height"], image["width"], 3), dtype=np.uint8)
        for annotation in document["annotations"]:
            if annotation["image_id"] == image["id"]:
                x, y, width, height = (round(value) for value in annotation["bbox"])
                shade = 100 + 60 * (annotation["category_id"] % 3)
                pixels[y : y + height, x : x + width] = (shade, 255 - shade, shade // 2)
        path = folder / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), pixels)


def write_coco(folder: Path, document: dict[str, Any] | None = None, *, name: str = "city", **settings: Any) -> DatasetSettings:
    """Write `folder/images/*.png` and `folder/annotations.json`, and return the settings that read them."""
    document = coco_dict() if document is None else document
    draw_images(folder / "images", document)
    annotations = write_json(folder / "annotations.json", document)
    return DatasetSettings(name, str(folder / "images"), str(annotations), **settings)


def training(**changes: Any) -> Training:
    """How a model is trained: `changes` of what it has of its own and of what all trainings share; 500 steps at 0.001 unless
    given.
    """
    own = {name: changes.pop(name) for name in ("steps", "batch_size", "optimizer", "learning_rate") if name in changes}
    ema_decay = changes.pop("ema_decay", 0.0)
    return Training(TrainSettings(**{"steps": 500, "learning_rate": 1e-3, **own}), SharedTrainSettings(**changes), ema_decay)
