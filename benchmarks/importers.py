"""Time and memory of imports, on sets as large as the public ones.

    python benchmarks/importers.py [--formats cityscapes nuimages bdd100k] [--annotations 1000 250000 500000 1000000]
                                   [--out FOLDER] [--json FILE]

For each format and size, a set is written in the format's own layout: with the real set's average number of boxes per image,
and the other content of its files (stuff polygons, sweeps, masks). Image files are empty because these importers do not open
them. Then `lat import` runs in a separate process, and its time and peak memory are measured. The first size shows the needs of
the program itself.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from markdown import Row, print_rows

MASK = "abcdefgh" * 25
"""As long as a typical run-length code of a mask."""

SWEEPS = 12
"""Sweeps per key frame of nuImages."""


def main() -> None:
    """Print a row per format and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", nargs="+", choices=WRITERS, default=list(WRITERS))
    parser.add_argument("--annotations", nargs="+", type=int, default=[1_000, 250_000, 500_000, 1_000_000])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark_importers"))
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    rows = [measure(form, count, options.out) for form in options.formats for count in options.annotations]
    print_rows("importers", rows, options.json)


def measure(form: str, annotations: int, out: Path) -> Row:
    """Write a set, import it, and delete both."""
    shutil.rmtree(out, ignore_errors=True)
    try:
        images = WRITERS[form](out / "data", annotations, np.random.default_rng(0))
        command = [sys.executable, "-m", "lat", "import", form, "--root", str(out / "data"), "--out", str(out / "imported")]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - start
        if status or f"{images} images" not in printed or f"{annotations} boxes" not in printed:
            raise SystemExit(f"the import of {form} failed: {printed}")
    finally:
        shutil.rmtree(out, ignore_errors=True)
    cpu = usage.ru_utime + usage.ru_stime
    return {
        "format": form,
        "images": images,
        "annotations": annotations,
        "seconds": round(took, 1),
        "CPU seconds": round(cpu, 1),
        "annotations / CPU second": f"{annotations / cpu:.0f}",
        "peak memory (MiB)": round(usage.ru_maxrss / 1024),
    }


def spread_over(annotations: int, an_image: int) -> Iterator[tuple[int, int]]:
    """Image numbers from 0, with the number of annotations of each."""
    for i, start in enumerate(range(0, annotations, an_image)):
        yield i, min(an_image, annotations - start)


def corners(generator: np.random.Generator, count: int, width: int, height: int) -> list[list[int]]:
    """Integer corners x1, y1, x2, y2 of boxes inside an image."""
    sides = generator.integers(12, 120, (count, 2))
    start = (generator.random((count, 2)) * ([width, height] - sides)).astype(int)
    return np.concatenate([start, start + sides], axis=1).tolist()


def write_cityscapes(root: Path, annotations: int, generator: np.random.Generator) -> int:
    """18 instances per image of 2048 x 1024, on 20 polygons of stuff and under four poles; none is hidden."""
    stuff = [{"label": "building", "polygon": [[x * 100, 0], [x * 100 + 99, 0], [x * 100 + 99, 1000]]} for x in range(20)]
    poles = [{"label": "pole", "polygon": [[x, 0], [x + 7, 0], [x + 7, 1000], [x, 1000]]} for x in (200, 700, 1200, 1700)]
    turns = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    last = 0
    for last, count in spread_over(annotations, 18):
        city = f"city{last // 1000:03d}"
        stem = f"{city}_{last:06d}_000019"
        objects = list(stuff)
        for place in range(count):
            middle = np.array([100 + place % 9 * 220, 300 + place // 9 * 300])
            points = middle + circle * generator.integers(10, 100)
            objects.append({"label": "car" if place % 2 else "person", "polygon": points.astype(int).tolist()})
        objects += poles
        content = {"imgHeight": 1024, "imgWidth": 2048, "objects": objects}
        _write_text(root / "gtFine" / "train" / city / f"{stem}_gtFine_polygons.json", json.dumps(content))
        _write_text(root / "leftImg8bit" / "train" / city / f"{stem}_leftImg8bit.png", "")
    return last + 1


def write_nuimages(root: Path, annotations: int, generator: np.random.Generator) -> int:
    """Nine boxes with masks per key frame of 1600 x 900, and twelve sweeps around it; annotations are not sorted by image."""
    images = -(-annotations // 9)
    categories = [{"token": f"{i:032x}", "name": name, "description": ""} for i, name in enumerate(("vehicle.car", "animal"))]
    _write_text(root / "v1.0-train" / "category.json", json.dumps(categories))
    common = {
        "width": 1600,
        "height": 900,
        "fileformat": "jpg",
        "timestamp": 1,
        "ego_pose_token": "e" * 32,
        "prev": "",
        "next": "",
    }

    def frames() -> Iterator[dict[str, object]]:
        for i in range(images):
            for sweep in range(SWEEPS + 1):
                name = f"samples/CAM_FRONT/{i}.jpg" if not sweep else f"sweeps/CAM_FRONT/{i}_{sweep}.jpg"
                yield {"token": f"{i * 100 + sweep:032x}", "filename": name, "is_key_frame": not sweep, **common}

    def objects() -> Iterator[dict[str, object]]:
        for number, box in enumerate(corners(generator, annotations, 1600, 900)):
            i = number % images
            entry = {"token": f"{number:032x}", "sample_data_token": f"{i * 100:032x}", "category_token": f"{number % 2:032x}"}
            yield {**entry, "attribute_tokens": [], "bbox": box, "mask": {"size": [900, 1600], "counts": MASK}}

    _write_list(root / "v1.0-train" / "sample_data.json", frames())
    _write_list(root / "v1.0-train" / "object_ann.json", objects())
    for i in range(images):
        _write_text(root / "samples" / "CAM_FRONT" / f"{i}.jpg", "")
    return images


def write_bdd100k(root: Path, annotations: int, generator: np.random.Generator) -> int:
    """18 boxes per frame of 1280 x 720."""
    keys = ("x1", "y1", "x2", "y2")
    labels = ("car", "pedestrian", "traffic sign")
    last = 0

    def frames() -> Iterator[dict[str, object]]:
        nonlocal last
        for last, count in spread_over(annotations, 18):
            boxes = [
                {
                    "id": str(i),
                    "category": labels[i % 3],
                    "attributes": {"occluded": False, "truncated": False, "trafficLightColor": "NA"},
                    "box2d": dict(zip(keys, (value + 0.25 for value in box), strict=True)),
                }
                for i, box in enumerate(corners(generator, count, 1270, 710))
            ]
            attributes = {"weather": "clear", "scene": "city street", "timeofday": "daytime"}
            yield {"name": f"{last:08d}.jpg", "attributes": attributes, "timestamp": 10000, "labels": boxes}
            _write_text(root / "images" / "100k" / "train" / f"{last:08d}.jpg", "")

    _write_list(root / "labels" / "det_20" / "det_train.json", frames())
    return last + 1


def _write_list(path: Path, rows: Iterator[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for i, row in enumerate(rows):
            file.write(("[" if i == 0 else ",\n") + json.dumps(row))
        file.write("]")


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


WRITERS: dict[str, Callable[[Path, int, np.random.Generator], int]] = {
    "cityscapes": write_cityscapes,
    "nuimages": write_nuimages,
    "bdd100k": write_bdd100k,
}

if __name__ == "__main__":
    main()
