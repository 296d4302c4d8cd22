"""Stand-ins of `gpu.py`: JPEG images of noise at the size of real ones, with random boxes, and detectors that know nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from lat.core.label_space import LabelSpace
from lat.detectors.base import build_detector, describe_detector
from lat.engine.checkpoint import save_checkpoint
from lat.workspace.workspace import Workspace

BOXES = 10  # on each image


def write_dataset(folder: Path, files: Mapping[Path, int], space: LabelSpace, size_hw: tuple[int, int], seed: int = 0) -> None:
    """Write a COCO file for each number of images, and the images, whose names differ between files.

    Args:
        folder: of the images.
        files: the COCO files and the number of images of each.
        space: the classes.
        size_hw: of every image.
        seed: of pixels and boxes.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for path, count in files.items():
        names = [f"{path.stem}_{i:04d}.jpg" for i in range(count)]
        for name in names:
            assert cv2.imwrite(str(folder / name), _pixels(random, size_hw))
        images = [
            {"id": i, "file_name": name, "height": size_hw[0], "width": size_hw[1]} for i, name in enumerate(names, start=1)
        ]
        boxes = [_box(random, image["id"], space, size_hw) for image in images for _ in range(BOXES)]
        annotations = [{"id": i, **box} for i, box in enumerate(boxes, start=1)]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": space.categories()}))


def write_untrained(workspace: Workspace, name: str) -> None:
    """Write the detector of a dataset as it is before its training."""
    settings, space = workspace.config.upstream.model, workspace.data.space(name)
    content = describe_detector(settings, space) | {"model": build_detector(settings, space).state_dict()}
    save_checkpoint(workspace.paths.upstream_model(name), content)


def _pixels(random: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 noise, coarse enough for a JPEG of the size of a photograph's."""
    coarse = random.integers(0, 256, (size_hw[0] // 16, size_hw[1] // 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC)


def _box(random: np.random.Generator, image: object, space: LabelSpace, size_hw: tuple[int, int]) -> dict[str, object]:
    frame = np.array(size_hw[::-1])
    sides = frame * random.uniform(0.05, 0.3, 2)
    corner = (frame - sides) * random.uniform(0, 1, 2)
    category = space.category_ids[int(random.integers(len(space)))]
    box = [*corner.tolist(), *sides.tolist()]
    return {"image_id": image, "category_id": category, "bbox": box, "area": float(sides.prod()), "iscrowd": 0}
