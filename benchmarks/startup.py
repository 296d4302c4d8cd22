"""Startup cost of the commands that run no neural network: CPU seconds of a tiny use of each, and whether it imported torch.

    python benchmarks/startup.py [--repeat 3] [--json FILE]

Two datasets of a few small images are written to a temporary folder, and each command runs on them in a separate process. CPU
seconds are user and system time of that process, the minimum over several runs. `lat doctor` imports torch last, to find GPUs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
from markdown import Row, print_rows

IMAGES, SIZE = 4, 64

HEAVY = ("torch", "torchvision", "timm", "lightning", "lightning_fabric", "transformers", "tensorboard", "ultralytics")
"""Packages that take seconds to import."""

_CHILD = f"""
import sys
from lat.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
"""
"""Runs a command; the last line on standard error names the imported heavy packages."""


def main() -> None:
    """Print a row per command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    rows = [measure(name, options.repeat) for name in (*USES, "doctor")]
    print_rows("startup", rows, options.json)


def measure(name: str, repeat: int) -> Row:
    """Run a command several times, each time on new files."""
    seconds, heavy = [], ""
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            write_inputs(Path(folder))
            before = os.times()
            heavy = run(USES.get(name, [name]), Path(folder))
            after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return {"command": f"lat {name}", "CPU seconds": f"{min(seconds):.2f}", "torch imported": "yes" if heavy else "no"}


def run(arguments: Sequence[str], folder: Path) -> str:
    """Run `lat` in a folder of `write_inputs`; return the heavy packages that it imported.

    Raises:
        SystemExit: with the output, if the command fails.
    """
    command = [sys.executable, "-c", _CHILD, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    if done.returncode:
        raise SystemExit(f"lat {' '.join(arguments)} failed: {done.stderr}")
    return done.stderr.splitlines()[-1]


USES = {
    "--version": ["--version"],
    "--help": ["--help"],
    "schema": ["schema"],
    "init": ["init", *(word for n in "ab" for word in ("--dataset", f"{n}={n}/images,{n}/labels.json")), "--out", "new.yaml"],
    "check": ["check", "mine.yaml"],
    "import": ["import", "coco", "--root", "a", "--out", "imported", "annotations=labels.json", "folder=images"],
    "import --labels": ["import", "fiftyone", "--root", "back", "--labels", "a/labels.json", "--allow-deletions"],
    "export": ["export", "a/labels.json", "--images", "a/images", "--to", "yolo", "--out", "exported"],
    "review apply": ["review", "apply", "decisions.json"],
    "evaluate --truth --labels": ["evaluate", "--truth", "a/labels.json", "--labels", "b/labels.json"],
    "compare": ["compare", "a/labels.json", "b/labels.json", "--images", "a/images", "--out", "compared"],
}
"""A tiny use of each command, in a folder of `write_inputs`."""


def write_inputs(folder: Path) -> None:
    """Write two datasets `a` and `b`, `mine.yaml` about them, decisions on the labels of `a`, and its labels from FiftyOne."""
    for name in "ab":
        _write_dataset(folder / name)
    datasets = "".join(f"  - {{name: {n}, images: {n}/images, annotations: {n}/labels.json}}\n" for n in "ab")
    (folder / "mine.yaml").write_text(f"target: a\ndatasets:\n{datasets}", encoding="utf-8")
    labels = folder / "a" / "labels.json"
    decisions = {
        "format": "lat review decisions",
        "version": 1,
        "labels": {"file": "a/labels.json", "sha256": sha256(labels.read_bytes()).hexdigest()},
        "boxes": [{"annotation_id": 1, "decision": "reject"}],
        "images": [],
    }
    (folder / "decisions.json").write_text(json.dumps(decisions), encoding="utf-8")
    box = {"_cls": "Detection", "label": "car", "bounding_box": [0.25, 0.25, 0.5, 0.5]}
    sample = {"file_name": "1.png", "ground_truth": {"_cls": "Detections", "detections": [box]}}
    (folder / "back").mkdir()
    (folder / "back" / "samples.json").write_text(json.dumps({"samples": [sample]}), encoding="utf-8")


def _write_dataset(folder: Path) -> None:
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for i in range(1, IMAGES + 1):
        cv2.imwrite(str(folder / "images" / f"{i}.png"), np.full((SIZE, SIZE, 3), 20 * i, np.uint8))
        images.append({"id": i, "file_name": f"{i}.png", "width": SIZE, "height": SIZE})
        for k, box in enumerate(([4, 4, 20, 20], [30, 8, 24, 40])):
            area = box[2] * box[3]
            annotation = {"id": 2 * i + k - 1, "image_id": i, "category_id": k + 1, "bbox": box, "area": area, "iscrowd": 0}
            annotations.append(annotation)
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "bus"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main()
