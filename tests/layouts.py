"""Public datasets in their own layouts, tiny: what the importers read is written here, by hand and not by `lat`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

Labeled = tuple[str, Sequence[float]]
"""A label of the format and its numbers."""


def write_image(path: Path, size: tuple[int, int], rectangles: Sequence[Sequence[float]] = ()) -> None:
    """Write noise of (width, height) with bright rectangles (x1, y1, x2, y2)."""
    pixels = np.random.default_rng(0).integers(0, 90, (size[1], size[0], 3), dtype=np.uint8)
    for x1, y1, x2, y2 in rectangles:
        pixels[max(0, int(y1)) : int(y2), max(0, int(x1)) : int(x2)] = (200, 120, 40)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def write_json(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def rectangle(x1: int, y1: int, x2: int, y2: int) -> list[list[int]]:
    """A polygon whose pixels go from (x1, y1) to (x2, y2), both inside."""
    return [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]


def write_cityscapes(
    root: Path,
    images: Mapping[str, Sequence[tuple[str, Sequence[Sequence[int]]]]],
    *,
    split: str = "train",
    size: tuple[int, int] = (64, 32),
    **more: Any,
) -> None:
    """Images by stem, such as aachen_000000_000019, each with its objects: label and polygon; `more` goes into each object."""
    for stem, objects in images.items():
        city = stem.split("_")[0]
        content = {
            "imgHeight": size[1],
            "imgWidth": size[0],
            "objects": [{"label": label, "polygon": polygon, **more} for label, polygon in objects],
        }
        write_json(root / "gtFine" / split / city / f"{stem}_gtFine_polygons.json", content)
        boxes = [(*np.min(polygon, axis=0), *np.max(polygon, axis=0)) for _, polygon in objects]
        write_image(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", size, boxes)


def write_nuimages(
    root: Path,
    images: Mapping[str, Sequence[Labeled]],
    *,
    split: str = "train",
    size: tuple[int, int] = (64, 32),
) -> None:
    """Images by name below samples/CAM_FRONT, each with category names and (xmin, ymin, xmax, ymax); a sweep beside each."""
    labels = sorted({label for boxes in images.values() for label, _ in boxes} | {"flat.driveable_surface"})
    categories = [{"token": f"c{i}", "name": name, "description": ""} for i, name in enumerate(labels)]
    frames: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for i, (name, boxes) in enumerate(images.items()):
        common = {"sample_token": f"s{i}", "width": size[0], "height": size[1], "fileformat": "jpg", "timestamp": i}
        key = {"token": f"k{i}", "filename": f"samples/CAM_FRONT/{name}", "is_key_frame": True, "next": "", "prev": f"w{i}"}
        sweep = {"token": f"w{i}", "filename": f"sweeps/CAM_FRONT/{name}", "is_key_frame": False, "next": f"k{i}", "prev": ""}
        lidar = {**key, "token": f"l{i}", "filename": f"samples/LIDAR_TOP/{i}.pcd.bin", "fileformat": "pcd"}
        frames += [{**common, **sweep}, {**common, **key}, {**common, **lidar}]
        for label, box in boxes:
            entry = {"token": f"o{len(objects)}", "sample_data_token": f"k{i}", "category_token": f"c{labels.index(label)}"}
            objects.append({**entry, "attribute_tokens": [], "bbox": list(box), "mask": {"size": list(size), "counts": "eA=="}})
        write_image(root / "samples" / "CAM_FRONT" / name, size, [box for _, box in boxes])
    for table, rows in (("category", categories), ("sample_data", frames), ("object_ann", objects[::-1])):
        write_json(root / f"v1.0-{split}" / f"{table}.json", rows)


def write_waymo(
    root: Path,
    segment: str,
    images: Mapping[tuple[int, int], Sequence[tuple[int, Sequence[float]]]],
    *,
    split: str = "training",
    size: tuple[int, int] = (64, 32),
) -> None:
    """Images by (time stamp, camera), each with types and (center x, center y, size x, size y)."""
    import pyarrow
    from pyarrow import parquet

    boxes: dict[str, list[Any]] = {"key.segment_context_name": [], "key.frame_timestamp_micros": [], "key.camera_name": []}
    columns = [f"[CameraBoxComponent].{name}" for name in ("box.center.x", "box.center.y", "box.size.x", "box.size.y", "type")]
    boxes |= {"key.camera_object_id": [], **{name: [] for name in columns}}
    pictures: dict[str, list[Any]] = {**{name: [] for name in list(boxes)[:3]}, "[CameraImageComponent].image": []}
    for (time, camera), labels in images.items():
        corners = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for _, (x, y, w, h) in labels]
        write_image(root / "picture.jpg", size, corners)
        values = (segment, time, camera, (root / "picture.jpg").read_bytes())
        for name, value in zip(pictures, values, strict=True):
            pictures[name].append(value)
        for kind, numbers in labels:
            for name, value in zip(boxes, (segment, time, camera, "object", *numbers, kind), strict=True):
                boxes[name].append(value)
    (root / "picture.jpg").unlink()
    for table, columns_of in (("camera_box", boxes), ("camera_image", pictures)):
        path = root / split / table / f"{segment}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.table(columns_of), path, row_group_size=2)


def scalabel_frame(name: str, labels: Sequence[Labeled], **more: Any) -> dict[str, Any]:
    """A frame with (x1, y1, x2, y2), first and last pixel of each box."""
    corners = ("x1", "y1", "x2", "y2")
    return {
        "name": name,
        "timestamp": 10000,
        "labels": [
            {"id": str(i), "category": label, "attributes": {"occluded": False}, "box2d": dict(zip(corners, box, strict=True))}
            for i, (label, box) in enumerate(labels)
        ],
        **more,
    }


def write_bdd100k(
    root: Path, frames: Sequence[dict[str, Any]], *, split: str = "train", size: tuple[int, int] = (1280, 720)
) -> None:
    write_json(root / "labels" / "det_20" / f"det_{split}.json", frames)
    for frame in frames:
        boxes = [label["box2d"].values() for label in frame.get("labels", []) if "box2d" in label]
        write_image(root / "images" / "100k" / split / frame["name"], size, boxes)


def write_shift(
    root: Path, frames: Sequence[dict[str, Any]], *, split: str = "train", size: tuple[int, int] = (1280, 800)
) -> None:
    folder = root / "discrete" / "images" / split / "front"
    write_json(folder / "det_2d.json", {"frames": frames, "config": {"categories": []}})
    for frame in frames:
        boxes = [label["box2d"].values() for label in frame.get("labels", [])]
        write_image(folder / "img" / frame["videoName"] / frame["name"], size, boxes)


CITYSCAPES_IDS = {"person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33}


def write_acdc(
    root: Path,
    images: Mapping[str, Sequence[Labeled]],
    *,
    condition: str = "fog",
    split: str = "train",
    size: tuple[int, int] = (64, 32),
) -> None:
    """Images by name, such as GOPR0475_frame_000041_rgb_anon.png, each with labels and (x, y, width, height)."""
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i, (name, boxes) in enumerate(images.items()):
        place = f"{condition}/{split}/{name.split('_')[0]}/{name}"
        entries.append({"id": 100 + i, "file_name": place, "width": size[0], "height": size[1]})
        for label, box in boxes:
            common = {"id": len(annotations), "image_id": 100 + i, "category_id": CITYSCAPES_IDS[label]}
            annotations.append({**common, "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0})
        write_image(root / "rgb_anon" / place, size, [(x, y, x + w, y + h) for _, (x, y, w, h) in boxes])
    categories = [{"id": number, "name": name} for name, number in CITYSCAPES_IDS.items()]
    content = {"images": entries, "categories": categories, "annotations": annotations}
    write_json(root / "gt_detection" / condition / f"instancesonly_{condition}_{split}_gt_detection.json", content)


def write_synscapes(
    root: Path, images: Mapping[int, Sequence[tuple[int, Sequence[float], float]]], *, size: tuple[int, int] = (64, 32)
) -> None:
    """Images by number, each with class ids, (xmin, ymin, xmax, ymax) in shares, and the hidden share."""
    for number, objects in images.items():
        keys = [str(65_536 + i) for i in range(len(objects))]
        corners = ("xmin", "ymin", "xmax", "ymax")
        boxes = {key: dict(zip(corners, box, strict=True)) for key, (_, box, _) in zip(keys, objects, strict=True)}
        instance = {
            "bbox2d": {key: {**box, "zmin": 1.0, "zmax": 2.0} for key, box in boxes.items()},
            "bbox3d": {},
            "class": {key: one[0] for key, one in zip(keys, objects, strict=True)},
            "occluded": {key: one[2] for key, one in zip(keys, objects, strict=True)},
            "truncated": dict.fromkeys(keys, 0.0),
        }
        write_json(root / "meta" / f"{number}.json", {"camera": {}, "scene": {}, "instance": instance})
        pixels = [np.array(box) * (*size, *size) for _, box, _ in objects]
        write_image(root / "img" / "rgb" / f"{number}.png", size, pixels)
