"""Time and memory of what goes over the labels of a whole dataset at once: doubt, conventions, class shares, evaluation.

    python benchmarks/tails.py [--images 5000 20000 80000] [--parts doubt conventions ...] [--json FILE]

One source and one target with 10 random boxes per image in each table (human boxes, pseudo-labels, transferred labels, truth).
Each part has a process of its own. "tables" is the size of the tables that it goes over, and "on top" by how much the
process's peak memory exceeds what it held with the tables in memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
from markdown import print_rows

from lat.baselines.class_names import averaged_union_labels, labels_by_class_names
from lat.core.label_space import LabelSpace
from lat.data.tensors import boxes_per_image
from lat.evaluation.box_doubt import doubt
from lat.evaluation.label_figures import label_figures
from lat.evaluation.transfer_quality import agreement
from lat.labelling.box_pairs import BoxPairs
from lat.labelling.class_shares import count_pairs
from lat.labelling.estimate_conventions import estimate_conventions
from lat.labels.chunks import in_chunks
from lat.labels.table import LabelTable
from lat.stages.doubt import write_ranking
from lat.stages.evaluate import LabelsInChunks

BOXES, CLASSES, SIZE = 10, 10, 1000
SOURCE, TARGET = (LabelSpace(name, tuple(f"class {i}" for i in range(CLASSES)), tuple(range(1, CLASSES + 1))) for name in "st")


class Tables:
    """Human boxes of a source, and boxes near them in the target's space: pseudo-labels, transferred labels and truth."""

    def __init__(self, images: int) -> None:
        random = np.random.default_rng(0)
        corners = random.uniform(0, 0.8 * SIZE, (images * BOXES, 2)).astype(np.float32)
        boxes = np.concatenate([corners, corners + random.uniform(60, 200, corners.shape).astype(np.float32)], axis=1)
        classes = random.integers(0, CLASSES, len(boxes))
        self.human = table(images, SOURCE, boxes, classes, np.ones(len(boxes), np.float32))
        self.pseudo, self.transferred, self.truth = (self.near(random, spread) for spread in (6, 3, 2))

    def near(self, random: np.random.Generator, spread: float) -> LabelTable:
        """Boxes whose sides scatter around the human boxes; one of ten has another class."""
        human = self.human
        boxes = human.boxes_xyxy + random.normal(0, spread, human.boxes_xyxy.shape).astype(np.float32)
        others = random.integers(0, CLASSES, len(boxes))
        classes = np.where(random.random(len(boxes)) < 0.9, human.labels, others)
        return table(len(human), TARGET, boxes, classes, random.beta(5, 1, len(boxes)).astype(np.float32))

    def megabytes(self) -> float:
        """MiB of the columns of all tables."""
        total = 0
        for one in (self.human, self.pseudo, self.transferred, self.truth):
            columns = (getattr(one, field.name) for field in fields(one))
            total += sum(column.nbytes for column in columns if isinstance(column, np.ndarray))
        return (total + sum(map(sys.getsizeof, self.human.file_names))) / 2**20


def table(images: int, space: LabelSpace, boxes: np.ndarray, classes: np.ndarray, scores: np.ndarray) -> LabelTable:
    """A table of `BOXES` boxes per image."""
    return LabelTable(
        path=Path(f"{space.name}.json"),
        space=space,
        image_ids=np.arange(1, images + 1),
        file_names=tuple(f"{i:06d}.jpg" for i in range(images)),
        sizes_hw=np.full((images, 2), SIZE, np.int32),
        splits=("",) * images,
        offsets=np.arange(images + 1) * BOXES,
        boxes_xyxy=np.clip(boxes, 0, SIZE),
        labels=classes,
        scores=scores,
        is_crowd=np.zeros(len(boxes), bool),
        annotation_ids=np.arange(1, len(boxes) + 1),
    )


def find_doubt(tables: Tables) -> None:
    """Doubt with two views, and its file."""
    found = doubt(tables.transferred, tables.pseudo, [tables.human, tables.pseudo])
    with tempfile.TemporaryDirectory() as folder:
        write_ranking(Path(folder) / "doubt.json", {"source": "s", "target": "t"}, tables.transferred, found)


def find_conventions(tables: Tables) -> None:
    """Conventions from pairs of boxes on images of the source; those of the target and of held-out images are as many."""
    pairs = [
        BoxPairs.joined(BoxPairs.of_tables(*chunk) for chunk in in_chunks(tables.human, other))
        for other in (tables.pseudo, tables.transferred, tables.truth)
    ]
    estimate_conventions(*pairs, CLASSES, CLASSES)


def find_shares(tables: Tables) -> None:
    """Counts of classes that lie on each other, as class shares are learnt from."""
    sum(count_pairs(human, sure) for human, sure in in_chunks(tables.human, tables.pseudo))


def find_figures(tables: Tables) -> None:
    """AP and label quality of transferred labels, and of the averaged union."""

    def union(human: LabelTable, pseudo: LabelTable) -> list:
        return averaged_union_labels(labels_by_class_names(human, TARGET), boxes_per_image(pseudo))

    label_figures(tables.truth, tables.transferred, 0.5)
    label_figures(tables.truth, LabelsInChunks(union, (tables.human, tables.pseudo)), 0.5)


def find_agreement(tables: Tables) -> None:
    """What became of the human boxes."""
    agreement(tables.human, tables.transferred)


PARTS: dict[str, Callable[[Tables], None]] = {
    "doubt": find_doubt,
    "conventions": find_conventions,
    "class shares": find_shares,
    "figures of two methods": find_figures,
    "agreement": find_agreement,
}


def main() -> None:
    """Print a row per part and number of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[5000, 20000, 80000])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--measure", action="store_true", help="measure one part in this process")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.parts[0], arguments.images[0])))
        return
    rows = [in_own_process(part, images) for part in arguments.parts for images in arguments.images]
    print_rows("tails", rows, arguments.json)


def in_own_process(part: str, images: int) -> dict[str, object]:
    """What `measure` finds in a fresh process."""
    command = [sys.executable, __file__, "--measure", "--parts", part, "--images", str(images)]
    row: dict[str, object] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return row


def measure(part: str, images: int) -> dict[str, object]:
    """Make the tables, do one part and return its row."""
    PARTS[part](Tables(50))  # what is imported on first use
    tables = Tables(images)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far was that of making the tables
    before, start = _megabytes("VmRSS"), time.perf_counter()
    PARTS[part](tables)
    seconds = time.perf_counter() - start
    return {
        "part": part,
        "images": images,
        "seconds": f"{seconds:.1f}",
        "ms per image": f"{1000 * seconds / images:.2f}",
        "tables (MiB)": f"{tables.megabytes():.0f}",
        "on top (MiB)": f"{_megabytes('VmHWM') - before:.0f}",
    }


def _megabytes(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


if __name__ == "__main__":
    main()
