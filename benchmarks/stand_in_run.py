"""A run of any size whose detectors cost nothing: drawn boxes on images that carry only a number.

As a program it is the command `lat` with such detectors: `python benchmarks/stand_in_run.py run CONFIG`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
import torch
import yaml
from torch import Tensor, nn

import lat.detectors.base
from lat.config.places import seen_from
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors.detector_settings import DetectorSettings
from lat.formats.importers.class_lists import load_class_list

PAPER = {"cityscapes": 2965, "acdc": 1571, "bdd100k": 69852, "shift": 141052}
"""Training images of the paper's benchmark of small and large datasets; 215,440 in all."""

BOXES = 10  # on each image
HEIGHT, WIDTH = 24, 32
IMAGES_PER_FOLDER = 1000
VALIDATION_EVERY = 20  # images, of which one is held out

SETTINGS = {
    "rounds": {"count": 0},
    "training": {"warmup_steps": 0, "log_every": 5, "trackers": []},
    "upstream": {"training": {"steps": 5, "batch_size": 4, "learning_rate": 0.001}},
    "pseudo_label": {"mirrored": False, "scaled": []},
    "lat": {
        "backbone": {"name": "random", "cache": "none"},
        "head": {"dim": 16, "pooled_size": 3},
        "training": {"steps": 20, "batch_size": 4, "learning_rate": 0.001},
    },
    "downstream": {"in_run": False},
    "runtime": {"accelerator": "cpu"},
}
"""Those of `lat run` with the default label transfer, its model as small as it can be; one round, no downstream detector."""


@cache
def space_of(name: str) -> LabelSpace:
    """The classes of a dataset of the paper."""
    return load_class_list(name).space


@cache
def _kinds() -> tuple[str, ...]:
    """The names of all classes."""
    return tuple(dict.fromkeys(name for dataset in PAPER for name in space_of(dataset).class_names))


def drawn_objects(pixels: np.ndarray, space: LabelSpace, noise: str = "") -> tuple[np.ndarray, np.ndarray]:
    """The objects of an image as the protocol of a space has them, the same whenever they are asked for.

    Args:
        pixels: (H, W, 3) uint8, whose hash says which objects there are.
        space: a label space of `PAPER`; objects of classes that it has not are left out.
        noise: names what scatters the boxes; "" for nothing.

    Returns:
        (N, 4) float32 corners in pixels, and (N,) int64 class indices.
    """
    seed = crc32(pixels.tobytes())
    corners, sides, kinds = _drawn(seed)
    margin = 0.01 * sides * list(PAPER).index(space.name)  # the protocol's convention
    boxes = np.concatenate([corners - margin, corners + sides + margin], axis=1)
    if noise:
        scatter = np.random.default_rng([seed, crc32(noise.encode())]).normal(0, 0.04, (BOXES, 4))
        boxes += scatter * np.concatenate([sides, sides], axis=1)
    boxes = np.clip(boxes, 0, (WIDTH, HEIGHT, WIDTH, HEIGHT)).astype(np.float32)
    classes = _classes_of(space)[kinds]
    known = (classes >= 0) & (boxes[:, 2:] > boxes[:, :2] + 0.5).all(axis=1)
    return boxes[known], classes[known]


@lru_cache(maxsize=64)  # images: every detector sees those of a batch
def _drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Upper left corners and sides (N, 2) of the objects of an image, and what they are: (N,) indices of `_kinds`."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, (0.7 * WIDTH, 0.7 * HEIGHT), (BOXES, 2))
    sides = random.uniform(0.15, 0.5, (BOXES, 2)) * (WIDTH, HEIGHT)
    return corners, sides, random.integers(0, len(_kinds()) - 2, BOXES)  # one dataset alone has traffic lights and signs


@cache
def _classes_of(space: LabelSpace) -> np.ndarray:
    """The class index in a space of each of `_kinds`; -1 for none."""
    others = {"person": "pedestrian", "pedestrian": "person"}
    names = [name if name in space.class_names else others.get(name, name) for name in _kinds()]
    return np.array([space.class_names.index(name) if name in space.class_names else -1 for name in names], np.int64)


class StandInDetector(nn.Module):
    """A detector that draws the objects of an image from the image's hash; see `lat.detectors.base.Detector`."""

    def __init__(self, settings: DetectorSettings, space: LabelSpace, *, load_weights: bool) -> None:
        super().__init__()
        self.space = space
        self.bias = nn.Parameter(torch.zeros(()))

    def losses(self, images: list[Tensor], targets: list[LabeledBoxes]) -> dict[str, Tensor]:
        """Something to train."""
        return {"bias": (self.bias - len(images)) ** 2}

    @torch.no_grad()
    def predict(self, images: list[Tensor]) -> list[LabeledBoxes]:
        """Most objects of each image, some under another class; class scores sum to 1."""
        return [self._predict(image.mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()) for image in images]

    def _predict(self, pixels: np.ndarray) -> LabeledBoxes:
        boxes, classes = drawn_objects(pixels, self.space, f"detector of {self.space.name}")
        random = np.random.default_rng([crc32(pixels.tobytes()), len(self.space)])
        logits = random.normal(0, 1, (len(boxes), len(self.space)))
        logits[np.arange(len(boxes)), classes] += 4
        scores = np.exp(logits)
        scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
        found = np.flatnonzero(random.random(len(boxes)) < 0.9)
        order = found[np.argsort(-scores[found].max(axis=1), kind="stable")]
        chosen = torch.from_numpy(scores[order])
        labels = torch.from_numpy(scores[order].argmax(axis=1))
        scores_of = chosen.max(dim=1).values if len(order) else torch.zeros(0)
        return LabeledBoxes(torch.from_numpy(boxes[order]), labels, self.space, scores=scores_of, class_scores=chosen)


def install() -> None:
    """Let this process take the stand-in for torchvision's detector."""
    lat.detectors.base.BACKENDS = {"torchvision": StandInDetector}


def counts_of(images: int) -> dict[str, int]:
    """So many images over the datasets in the paper's proportions, at least five each."""
    total = sum(PAPER.values())
    return {name: max(5, round(images * count / total)) for name, count in PAPER.items()}


def write_run(folder: Path, images: int) -> Path:
    """Write images, annotations, and the truth of the largest dataset in the space of the first; returns the configuration."""
    datasets = []
    for name, count in counts_of(images).items():
        spaces = [space_of(name), *([space_of("cityscapes")] if name == "shift" else [])]
        files = {space.name: folder / name / f"{space.name}.json" for space in spaces}
        _write_dataset(folder / name, count, {files[space.name]: space for space in spaces})
        entry = {"name": name, "images": str(folder / name / "images"), "annotations": str(files[name])}
        entry |= {"validation_split": "val", "truth": {other: str(files[other]) for other in files if other != name}}
        datasets.append(entry)
    path = folder / "config.yaml"
    settings = {"output_dir": str(folder / "run"), "target": "all", "datasets": datasets, **SETTINGS}
    path.write_text(yaml.safe_dump(seen_from(folder, settings)))
    return path


def _write_dataset(folder: Path, count: int, files: Mapping[Path, LabelSpace]) -> None:
    """Write images and their COCO files."""
    for number in range(0, count, IMAGES_PER_FOLDER):
        (folder / "images" / f"{number // IMAGES_PER_FOLDER:03d}").mkdir(parents=True)
    for i in range(count):
        (folder / "images" / _file_name(i)).write_bytes(_png(folder.name, i))
    for path, space in files.items():
        with path.open("w") as file:
            file.write(f'{{"categories": {json.dumps(space.categories())}, "images": [')
            file.writelines(f"{',' if i else ''}\n{json.dumps(_image(i))}" for i in range(count))
            file.write('], "annotations": [')
            annotations = enumerate(_annotations(folder.name, count, space), start=1)
            file.writelines(f"{',' if i > 1 else ''}\n{json.dumps({'id': i, **one})}" for i, one in annotations)
            file.write("]}\n")


def _pixels(dataset: str, i: int) -> np.ndarray:
    """(H, W, 3) uint8, grey but for the dataset and the number of the image."""
    pixels = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    pixels.reshape(-1)[:8] = np.frombuffer(crc32(dataset.encode()).to_bytes(4) + i.to_bytes(4), np.uint8)
    return pixels


def _png(dataset: str, i: int) -> bytes:
    _, encoded = cv2.imencode(".png", _pixels(dataset, i)[:, :, ::-1])
    return encoded.tobytes()


def _file_name(i: int) -> str:
    return f"{i // IMAGES_PER_FOLDER:03d}/{i:06d}.png"


def _image(i: int) -> dict[str, object]:
    split = "val" if i % VALIDATION_EVERY == 0 else "train"
    return {"id": i + 1, "file_name": _file_name(i), "width": WIDTH, "height": HEIGHT, "split": split}


def _annotations(dataset: str, count: int, space: LabelSpace) -> Iterator[dict[str, object]]:
    for i in range(count):
        boxes, classes = drawn_objects(_pixels(dataset, i), space, "person")
        for (x1, y1, x2, y2), label in zip(boxes.astype(np.float64).round(3).tolist(), classes.tolist(), strict=True):
            box = [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)]
            category = space.category_ids[label]
            yield {
                "image_id": i + 1,
                "category_id": category,
                "bbox": box,
                "area": round(box[2] * box[3], 3),
                "iscrowd": 0,
            }


if __name__ == "__main__":
    from lat.cli import main

    install()
    main()
