"""AP of random detections: `lat.evaluation.detection_ap` against faster-coco-eval and pycocotools.

    python benchmarks/average_precision.py [--images 28500 300000] [--others-up-to 300000] [--pycocotools-up-to 30000]
        [--json FILE]

10 detections and 7 truth boxes per image, of 10 classes; one truth box of twenty is a crowd. Times are CPU seconds of all threads
from columns to AP, what the other packages need to be given included, one package after another in one process; `lat` then finds
how far AP could be off (`ap_margins`), which the others do not.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from markdown import print_rows

from lat.core.label_space import LabelSpace
from lat.evaluation.ap_margins import ap_margins
from lat.evaluation.box_columns import paired_columns
from lat.evaluation.detection_ap import detection_ap
from lat.labels.table import LabelTable

TRUTH, FOUND, CLASSES = 7, 10, 10
SPACE = LabelSpace("classes", tuple(f"class {i}" for i in range(CLASSES)), tuple(range(1, CLASSES + 1)))
ALL_SIZES = [[0, 1e10]]


def main() -> None:
    """Print a row per number of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[28500, 300000])
    parser.add_argument("--others-up-to", type=int, default=300000, metavar="IMAGES", help="above it only lat")
    parser.add_argument("--pycocotools-up-to", type=int, default=30000, metavar="IMAGES", help="more take it minutes")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    limits = {"faster-coco-eval": arguments.others_up_to, "pycocotools": arguments.pycocotools_up_to}
    rows = [row_of(n, [name for name, most in limits.items() if n <= most]) for n in arguments.images]
    print_rows("average_precision", rows, arguments.json)


def row_of(images: int, compared: list[str]) -> dict[str, object]:
    """Times, ratios and the largest difference in AP of all packages."""
    truth, labels = random_tables(images)
    ours, whole = timed(lambda: detection_ap(truth, labels).ap)
    columns = paired_columns(truth, labels)
    _, of_margins = timed(lambda: ap_margins(*columns, images, SPACE.class_names))
    seconds = whole - of_margins
    packages: dict[str, Callable[[], float]] = {
        "faster-coco-eval": lambda: by_faster_coco_eval(truth, labels),
        "pycocotools": lambda: by_pycocotools(truth, labels),
    }
    others = {name: packages[name] for name in compared}
    row: dict[str, object] = {"detections": labels.num_boxes, "lat (CPU s)": f"{seconds:.2f}"}
    row["margins / lat"] = f"{of_margins / seconds:.1f}"
    differences = []
    for name in ("faster-coco-eval", "pycocotools"):
        if name not in others:
            row |= {f"{name} (CPU s)": "", f"{name} / lat": ""}
            continue
        ap, of_other = timed(others[name])
        row |= {f"{name} (CPU s)": f"{of_other:.1f}", f"{name} / lat": f"{of_other / seconds:.1f}"}
        differences.append(abs(ap - (ours or 0.0)))
    return {**row, "largest difference in AP": f"{max(differences):.1e}" if differences else ""}


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and the CPU seconds that it took; its prints are left out."""
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        result = work()
    return result, time.process_time() - start


def random_tables(images: int) -> tuple[LabelTable, LabelTable]:
    """Truth, and detections near it, of which one in ten has a random class."""
    random = np.random.default_rng(0)
    corners = random.uniform(0, 900, (images * TRUTH, 2))
    truth = np.concatenate([corners, corners + random.uniform(10, 200, corners.shape)], axis=1)
    classes = random.integers(0, CLASSES, len(truth))
    picked = (np.arange(images)[:, None] * TRUTH + np.arange(FOUND) % TRUTH).ravel()
    found = truth[picked] + random.normal(0, 4, (len(picked), 4))
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 2)
    labels = np.where(random.random(len(picked)) < 0.9, classes[picked], random.integers(0, CLASSES, len(picked)))
    is_crowd, scores = random.random(len(truth)) < 0.05, random.random(len(picked)).astype(np.float32)
    nothing = np.zeros(len(picked), bool)
    return (
        table(images, truth, classes, np.ones(len(truth), np.float32), is_crowd),
        table(images, found, labels, scores, nothing),
    )


def table(images: int, boxes: np.ndarray, classes: np.ndarray, scores: np.ndarray, is_crowd: np.ndarray) -> LabelTable:
    """A table with as many boxes in each image."""
    return LabelTable(
        path=Path("labels.json"),
        space=SPACE,
        image_ids=np.arange(1, images + 1),
        file_names=tuple(f"{i}.jpg" for i in range(images)),
        sizes_hw=np.full((images, 2), 1200, np.int32),
        splits=("",) * images,
        offsets=np.arange(images + 1) * (len(boxes) // images),
        boxes_xyxy=boxes.astype(np.float32),
        labels=classes,
        scores=scores,
        is_crowd=is_crowd,
        annotation_ids=np.arange(1, len(boxes) + 1),
    )


def dataset_of(labels: LabelTable) -> dict[str, Any]:
    """The content of a COCO file."""
    corners = labels.boxes_xyxy.astype(np.float64)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    columns = (labels.image_ids[labels.image_of_box], labels.labels + 1, boxes, labels.scores, labels.is_crowd)
    rows = enumerate(zip(*(column.tolist() for column in columns), strict=True), start=1)
    annotations = [
        {
            "id": i,
            "image_id": image,
            "category_id": k,
            "bbox": box,
            "area": box[2] * box[3],
            "score": score,
            "iscrowd": int(crowd),
        }
        for i, (image, k, box, score, crowd) in rows
    ]
    images = [{"id": i} for i in labels.image_ids.tolist()]
    return {"images": images, "categories": labels.space.categories(), "annotations": annotations}


def by_faster_coco_eval(truth: LabelTable, labels: LabelTable) -> float:
    """AP in 0..100."""
    from faster_coco_eval import COCO, COCOeval_faster

    loaded = [COCO(dataset_of(one), print_function=print) for one in (truth, labels)]
    return _ap(COCOeval_faster(*loaded, iouType="bbox", print_function=print, separate_eval=True))


def by_pycocotools(truth: LabelTable, labels: LabelTable) -> float:
    """AP in 0..100."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    loaded = []
    for one in (truth, labels):
        coco = COCO()
        coco.dataset = dataset_of(one)
        coco.createIndex()
        loaded.append(coco)
    return _ap(COCOeval(*loaded, "bbox"))


def _ap(evaluation: Any) -> float:
    evaluation.params.maxDets, evaluation.params.areaRng, evaluation.params.areaRngLbl = [FOUND], ALL_SIZES, ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"]
    return 100 * float(precision[precision > -1].mean())


if __name__ == "__main__":
    main()
