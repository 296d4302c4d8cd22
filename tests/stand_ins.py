"""Stand-ins for the public datasets of `configs/paper`: a few small images of each in its own layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from layouts import (
    CITYSCAPES_IDS,
    rectangle,
    scalabel_frame,
    write_acdc,
    write_bdd100k,
    write_cityscapes,
    write_nuimages,
    write_shift,
    write_synscapes,
    write_waymo,
)

SIZE = (56, 42)
SIZE_OF_FRAME = {"size": {"width": SIZE[0], "height": SIZE[1]}}
LEFT, RIGHT = (4, 6, 22, 20), (28, 12, 50, 36)
"""x1, y1, x2, y2 of the two objects of every image."""


def _xywh(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return box[0], box[1], box[2] - box[0], box[3] - box[1]


def cityscapes(root: Path) -> None:
    for split, numbers in (("train", range(3)), ("val", range(2))):
        objects = [("road", rectangle(0, 20, 55, 41)), ("car", rectangle(*LEFT)), ("person", rectangle(*RIGHT))]
        write_cityscapes(root, {f"aachen_00000{i}_000019": objects for i in numbers}, split=split, size=SIZE)


def nuimages(root: Path) -> None:
    boxes = [("vehicle.car", LEFT), ("human.pedestrian.adult", RIGHT)]
    write_nuimages(root, {f"a_{i}.jpg": boxes for i in range(3)}, split="train", size=SIZE)
    write_nuimages(root, {f"b_{i}.jpg": boxes for i in range(2)}, split="val", size=SIZE)


def waymo(root: Path) -> None:
    middles = [((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1) for x1, y1, x2, y2 in (LEFT, RIGHT)]
    boxes = list(zip((1, 2), middles, strict=True))
    for split, times in (("training", range(3)), ("validation", range(2))):
        write_waymo(root, f"segment_{split}", {(time, 1): boxes for time in times}, split=split, size=SIZE)


def acdc(root: Path) -> None:
    boxes = [("car", _xywh(LEFT)), ("person", _xywh(RIGHT))]
    for condition in ("fog", "night", "rain", "snow"):
        for split in ("train", "val"):
            write_acdc(root, {"GOPR0475_frame_000041_rgb_anon.png": boxes}, condition=condition, split=split, size=SIZE)


def bdd100k(root: Path) -> None:
    for split, numbers in (("train", range(3)), ("val", range(2))):
        frames = [scalabel_frame(f"{i}.jpg", [("car", LEFT), ("pedestrian", RIGHT)], **SIZE_OF_FRAME) for i in numbers]
        write_bdd100k(root, frames, split=split, size=SIZE)


def shift(root: Path) -> None:
    for split, numbers in (("train", range(3)), ("val", range(2))):
        labels = [("car", LEFT), ("pedestrian", RIGHT)]
        frames = [scalabel_frame(f"0000000{i}_img_front.jpg", labels, videoName="0aee-69fd", **SIZE_OF_FRAME) for i in numbers]
        write_shift(root, frames, split=split, size=SIZE)


def synscapes(root: Path) -> None:
    objects = [
        (CITYSCAPES_IDS[label], (box[0] / SIZE[0], box[1] / SIZE[1], box[2] / SIZE[0], box[3] / SIZE[1]), 0.0)
        for label, box in (("car", LEFT), ("person", RIGHT))
    ]
    write_synscapes(root, dict.fromkeys(range(1, 4), objects), size=SIZE)


STAND_INS: dict[str, Callable[[Path], None]] = {
    **{"cityscapes": cityscapes, "nuimages": nuimages, "waymo": waymo, "acdc": acdc},
    **{"bdd100k": bdd100k, "shift": shift, "synscapes": synscapes},
}
