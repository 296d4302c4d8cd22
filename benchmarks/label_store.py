"""The label store against COCO files: CPU seconds, bytes and peak memory of writing, exporting and reading labels.

    python benchmarks/label_store.py [--boxes 1000000 10000000] [--classes 10] [--steps STEP ...] [--keep FOLDER] [--json FILE]

Ten boxes on each image, with class scores, in parts of a thousand images. "read by json" reads the COCO file as files with
problems are read, record by record with Python's `json`, which takes many times the memory; it is done only if it is named.
Each step runs in a process of its own. CPU seconds are its user and system time after imports; peak memory is that of the whole
process, of which the interpreter with numpy and pyarrow takes 0.1 GB. The boxes are drawn at random, which "write parts"
includes and "draw" does alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from markdown import Row, print_rows

from lat.core.label_space import LabelSpace
from lat.labels.class_scores import TOP_CLASSES, WHOLE_CLASSES, ClassScores, TopScores
from lat.labels.coco.problems import load_json
from lat.labels.coco.read import read_labels
from lat.labels.coco.scan import scan_document
from lat.labels.store import LabelShards, to_arrow
from lat.labels.table import LabelTable
from lat.labels.written_boxes import on_images

PER_IMAGE, PER_PART, HEIGHT, WIDTH = 10, 1000, 720, 1280


def image_list(count: int, space: LabelSpace) -> LabelTable:
    """Images without labels."""
    return LabelTable(
        path=Path("images.json"),
        space=space,
        image_ids=np.arange(1, count + 1),
        file_names=tuple(f"{i:012d}.jpg" for i in range(count)),
        sizes_hw=np.tile(np.array([[HEIGHT, WIDTH]], np.int32), (count, 1)),
        splits=("",) * count,
        offsets=np.zeros(count + 1, np.int64),
        boxes_xyxy=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        scores=np.zeros(0, np.float32),
        is_crowd=np.zeros(0, bool),
        annotation_ids=np.zeros(0, np.int64),
    )


def drawn(images: LabelTable, space: LabelSpace, part: range) -> LabelTable:
    """Random labels of some images, rounded as written labels are."""
    generator = np.random.default_rng(part.start)
    count = len(part) * PER_IMAGE
    corners = np.sort(generator.random((count, 2, 2)), axis=1) * 0.9
    corners[:, 1] += 0.05
    kept = min(len(space), TOP_CLASSES if len(space) > WHOLE_CLASSES else WHOLE_CLASSES)
    shares = generator.exponential(size=(count, kept)) ** 4
    values = np.round(shares / shares.sum(axis=1, keepdims=True), 6).astype(np.float32)
    scores, labels = values.max(axis=1), values.argmax(axis=1)
    class_scores: ClassScores = values
    if len(space) > WHOLE_CLASSES:
        classes = (generator.integers(len(space), size=(count, 1)) + np.arange(kept)) % len(space)
        class_scores, labels = (
            TopScores(classes.astype(np.int32), -np.sort(-values, axis=1), 1 - scores, len(space)),
            classes[:, 0],
        )
    return on_images(
        images,
        part,
        space=space,
        offsets=np.arange(0, count + 1, PER_IMAGE),
        boxes_xyxy=np.round((corners * [WIDTH, HEIGHT]).reshape(count, 4), 4).astype(np.float32),
        labels=labels.astype(np.int64),
        scores=scores,
        is_crowd=np.zeros(count, bool),
        annotation_ids=np.arange(1, count + 1),
        class_scores=class_scores,
    )


class Labels:
    """Where the labels of one row of the table are, and the steps."""

    def __init__(self, folder: Path, boxes: int, classes: int) -> None:
        self.space = LabelSpace.from_names("space", [f"class {i}" for i in range(classes)])
        self.images = image_list(boxes // PER_IMAGE, self.space)
        self.parts = [range(i, min(i + PER_PART, len(self.images))) for i in range(0, len(self.images), PER_PART)]
        self.file, self.folder = folder / "labels.json", folder / "parts"

    @property
    def shards(self) -> LabelShards:
        """The parts."""
        return LabelShards(self.folder, self.images, self.space)

    def draw(self) -> None:
        """Draw the boxes and nothing else."""
        for part in self.parts:
            drawn(self.images, self.space, part)

    def write(self) -> None:
        """Draw the boxes and write the parts."""
        shards = self.shards
        shards.prepare("", self.parts)
        for number, part in enumerate(self.parts):
            shards.write(number, to_arrow(drawn(self.images, self.space, part), part.start))

    def export(self) -> None:
        """Stream the COCO file from the parts."""
        self.shards.export(self.file, {})

    def read_parts(self) -> None:
        """Read the labels from the parts."""
        self.shards.read()

    def read_file(self) -> None:
        """Read the labels from the COCO file."""
        read_labels(self.file, "space", expect=self.space)

    def read_by_json(self) -> None:
        """Read the labels from the COCO file record by record."""
        scan_document(self.file, load_json(self.file, []), "space", expect=self.space)

    def bytes_per_box(self, step: str, boxes: int) -> str:
        """What a step leaves on the disk."""
        sizes = {
            "write parts": lambda: sum(path.stat().st_size for path in self.folder.glob("*.parquet")),
            "export COCO file": lambda: self.file.stat().st_size,
        }
        return f"{sizes[step]() / boxes:.0f}" if step in sizes else ""


STEPS: dict[str, Callable[[Labels], None]] = {
    "draw": Labels.draw,
    "write parts": Labels.write,
    "export COCO file": Labels.export,
    "read parts": Labels.read_parts,
    "read COCO file": Labels.read_file,
    "read by json": Labels.read_by_json,
}


def measured(folder: Path, steps: Sequence[str], boxes: int, classes: int) -> Iterator[Row]:
    """A row for each step, in a process of its own."""
    for step in steps:
        command = [
            sys.executable,
            __file__,
            "--step",
            step,
            "--boxes",
            str(boxes),
            "--classes",
            str(classes),
            "--keep",
            str(folder),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        seconds, gigabytes = json.loads(done.stdout)
        yield {
            "boxes": f"{boxes:,}",
            "classes": classes,
            "step": step,
            "CPU seconds": f"{seconds:.1f}",
            "boxes per second": f"{boxes / seconds:,.0f}",
            "bytes per box": Labels(folder, boxes, classes).bytes_per_box(step, boxes),
            "peak GB": f"{gigabytes:.2f}",
            "peak kB per box": f"{gigabytes * 1e6 / boxes:.2f}",
        }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS)[:-1], metavar="STEP")
    parser.add_argument("--keep", type=Path, help="folder to write to, and to leave files in")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        labels = Labels(options.keep, options.boxes[0], options.classes)
        before = time.process_time()
        STEPS[options.step](labels)
        print(json.dumps([time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]))
        return
    rows: list[Row] = []
    for boxes in options.boxes:
        with tempfile.TemporaryDirectory() as folder:
            rows += measured(options.keep or Path(folder), options.steps, boxes, options.classes)
    print_rows("label_store", rows, options.json)


if __name__ == "__main__":
    main()
