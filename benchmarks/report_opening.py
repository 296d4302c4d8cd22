"""How long a large report takes to write, and its page to show the first picture in a browser.

    python benchmarks/report_opening.py [--images 10000] [--size 640 480] [--opens 5] [--out FOLDER] [--json FILE]

One source and one target with 8 random boxes per image in every layer, and --pictures different noise pictures, repeated under a
name per image. The page is opened from disk in headless Chromium (`chromium` on the path, driven by Playwright), each time with
an empty cache. Times are in seconds from the request of the page: the median of several opens, followed by the slowest.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from markdown import print_rows

from lat.core.label_space import LabelSpace
from lat.data.dataset import DetectionDataset
from lat.evaluation.box_doubt import doubt
from lat.labels.table import LabelTable
from lat.report.build import Gallery, ReportContent, write_report
from lat.report.report_settings import ReportSettings

BOXES = 8
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
SPACES = tuple(LabelSpace(name, tuple(f"{name} {i}" for i in range(10)), tuple(range(1, 11))) for name in ("source", "target"))


def main() -> None:
    """Write the report, open it, and print a row per figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--pictures", type=int, default=20, help="different pictures, repeated")
    parser.add_argument("--opens", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None, help="keep the report in this folder")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.out or Path(scratch)
        gallery, rank_seconds = _timed(lambda: make_gallery(folder, arguments.images, tuple(arguments.size), arguments.pictures))
        content = ReportContent("10,000 images", {}, list(SPACES), galleries=[gallery])
        _, write_seconds = _timed(lambda: write_report(folder / "report", content, ReportSettings()))
        rows = [
            {"figure": "images, boxes in each of three layers", "value": f"{arguments.images}, {gallery.transferred.num_boxes}"},
            {"figure": "make labels and rank them by doubt (s)", "value": f"{rank_seconds:.1f}"},
            {"figure": "write the report (s)", "value": f"{write_seconds:.1f}"},
            *({"figure": f"{name} (MiB)", "value": f"{_size(folder / 'report' / name):.1f}"} for name in ("data", "pictures")),
            {"figure": "index.html (MiB)", "value": f"{(folder / 'report' / 'index.html').stat().st_size / 2**20:.2f}"},
            *open_page(folder / "report" / "index.html", arguments.opens),
        ]
    print_rows("report_opening", rows, arguments.json)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def make_gallery(folder: Path, images: int, size_wh: tuple[int, int], pictures: int) -> Gallery:
    """Pictures on disk, and random labels in all layers; transferred ones are close to the source's."""
    generator = np.random.default_rng(0)
    names = tuple(f"{i:06d}.jpg" for i in range(images))
    _draw(folder / "images", names, size_wh, pictures, generator)
    corners = generator.uniform(0, 0.7, (images * BOXES, 2)) * size_wh
    boxes = np.concatenate([corners, corners + generator.uniform(0.05, 0.3, (images * BOXES, 2)) * size_wh], axis=1)
    own = _table(boxes, generator.integers(0, 10, len(boxes)), np.ones(len(boxes)), SPACES[0], names, size_wh)
    layers = []
    for _ in ("pseudo", "transferred"):
        labels = np.where(generator.random(len(boxes)) < 0.9, own.labels, generator.integers(0, 10, len(boxes)))
        moved = boxes + generator.normal(0, 3, boxes.shape)
        layers.append(_table(moved, labels, generator.beta(5, 1, len(boxes)), SPACES[1], names, size_wh))
    pseudo, transferred = layers
    dataset = DetectionDataset("source", folder / "images", own)
    return Gallery("source", "target", dataset, pseudo, transferred, doubt(transferred, pseudo, [own, pseudo]), "0" * 64)


def _draw(folder: Path, names: tuple[str, ...], size_wh: tuple[int, int], pictures: int, generator: np.random.Generator) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        path = folder / name
        if path.exists():
            continue
        if i < pictures:
            coarse = generator.integers(0, 255, (12, 16, 3), dtype=np.uint8)
            cv2.imwrite(str(path), cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC))
        else:
            os.link(folder / names[i % pictures], path)


def _table(
    boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, space: LabelSpace, names: tuple[str, ...], size_wh: tuple[int, int]
) -> LabelTable:
    limits = np.array([*size_wh, *size_wh])
    return LabelTable(
        path=Path(f"{space.name}.json"),
        space=space,
        image_ids=np.arange(1, len(names) + 1),
        file_names=names,
        sizes_hw=np.tile(np.array(size_wh[::-1], np.int32), (len(names), 1)),
        splits=("",) * len(names),
        offsets=np.arange(len(names) + 1) * BOXES,
        boxes_xyxy=np.clip(boxes, 0, limits).astype(np.float32),
        labels=labels.astype(np.int64),
        scores=scores.astype(np.float32),
        is_crowd=np.zeros(len(boxes), bool),
        annotation_ids=np.arange(1, len(boxes) + 1),
    )


def open_page(path: Path, opens: int) -> list[dict[str, str]]:
    """Open the page several times, look at the first image and filter; return a row per figure."""
    from playwright.sync_api import sync_playwright

    times: dict[str, list[float]] = {"first picture": [], "boxes on it": [], "then filter by class": [], "then open an image": []}
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for _ in range(opens):
            page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
            start = time.perf_counter()
            page.goto(path.resolve().as_uri(), wait_until="commit")
            page.wait_for_function("() => document.querySelector('#cards img')?.naturalWidth > 0")
            times["first picture"].append(time.perf_counter() - start)
            page.wait_for_selector("#cards svg .box")
            times["boxes on it"].append(time.perf_counter() - start)
            start = time.perf_counter()
            page.locator("#filter-class").select_option("target 3")
            page.wait_for_function("() => document.getElementById('gallery-count').textContent.includes(' of ')")
            times["then filter by class"].append(time.perf_counter() - start)
            start = time.perf_counter()
            page.locator(".card-button").first.click()
            page.wait_for_selector("#panels svg .box")
            times["then open an image"].append(time.perf_counter() - start)
            page.context.close()
        browser.close()
    return [{"figure": f"{name} (s)", "value": f"{median(all_):.2f} ({max(all_):.2f})"} for name, all_ in times.items()]


if __name__ == "__main__":
    main()
