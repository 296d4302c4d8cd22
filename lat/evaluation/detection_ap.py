"""Average precision of labels against truth, as COCO computes it. The computing is faster-coco-eval's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from lat.data.label_table import LabelTable
from lat.errors import InputError
from lat.structures import LabeledBoxes

ID_LIMIT = 5


@dataclass(frozen=True)
class ApResult:
    """Average precision in 0..100; None where there is no truth box to find.

    Attributes:
        ap: mean over classes of the AP at IoU 0.50, 0.55 .. 0.95.
        ap50: mean over classes of the AP at IoU 0.50.
        per_class: AP[.5:.95] by class name, in the order of the label space.
        images: number of images of the truth.
        boxes: number of truth boxes, crowd boxes not counted.
    """

    ap: float | None
    ap50: float | None
    per_class: dict[str, float | None]
    images: int
    boxes: int

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class _Columns:
    """Boxes of all images: place of the image, 0..I-1 by rising image id, box, class index, score, crowd flag; a row a box."""

    image: np.ndarray
    boxes_xyxy: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    is_crowd: np.ndarray


def detection_ap(truth: LabelTable, labels: LabelTable | Sequence[LabeledBoxes]) -> ApResult:
    """Score labels against truth, over all object sizes.

    All labels of an image count, however many they are (COCO's own limit of the best 100 would leave boxes out). Crowd boxes
    of the truth are regions in which labels are neither right nor wrong; crowd boxes of a labels file are no labels.

    Args:
        truth: the boxes to be found.
        labels: a labels file of the same images, matched by image id, with the same categories, matched by id; or the boxes
            of each image, in the order of the truth's images.

    Raises:
        InputError: if the categories differ, or an image is in one file only.
    """
    places = np.argsort(np.argsort(truth.image_ids))  # by rising image id, as COCO orders boxes of equal scores
    if isinstance(labels, LabelTable):
        found = _matched_columns(truth, labels, places)
    else:
        found = _listed_columns(truth, labels, places)
    wanted = _table_columns(truth, places)
    counted = wanted.labels[~wanted.is_crowd]
    names = truth.space.class_names
    if not len(found.image):
        per_class = {name: 0.0 if (counted == k).any() else None for k, name in enumerate(names)}
        nothing = 0.0 if len(counted) else None
        return ApResult(nothing, nothing, per_class, len(truth), len(counted))
    precision = _precision(wanted, found, len(truth), len(names))
    return ApResult(
        ap=_mean(precision),
        ap50=_mean(precision[0]),
        per_class={name: _mean(precision[:, :, k]) for k, name in enumerate(names)},
        images=len(truth),
        boxes=len(counted),
    )


def _table_columns(table: LabelTable, places: np.ndarray) -> _Columns:
    """Columns of a labels file whose image i is at place `places[i]` (I,) int64."""
    image = np.repeat(places, np.diff(table.offsets))
    return _Columns(image, table.boxes_xyxy, table.labels, table.scores, table.is_crowd)


def _matched_columns(truth: LabelTable, labels: LabelTable, places: np.ndarray) -> _Columns:
    _check_categories(truth, labels)
    for one, other in ((truth, labels), (labels, truth)):
        missing = np.setdiff1d(one.image_ids, other.image_ids)
        if len(missing):
            shown = ", ".join(map(str, missing[:ID_LIMIT])) + (", ..." if len(missing) > ID_LIMIT else "")
            what = f"lacks {len(missing)} of the images of {one.path}: image id {shown}"
            raise InputError(other.path, what, "score labels of the same images")
    columns = _table_columns(labels, places[truth.index_of(labels.image_ids)])
    kept = ~columns.is_crowd
    return _Columns(*(getattr(columns, name)[kept] for name in ("image", "boxes_xyxy", "labels", "scores", "is_crowd")))


def _check_categories(truth: LabelTable, labels: LabelTable) -> None:
    if truth.space.categories() == labels.space.categories():
        return
    lists = tuple(f"{table.path}: {_category_list(table)}" for table in (truth, labels))
    what = f"its categories are not those of {truth.path}"
    raise InputError(labels.path, what, "score labels in the label space of the truth", lists)


def _category_list(table: LabelTable) -> str:
    return ", ".join(f"{i} {name}" for i, name in zip(table.space.category_ids, table.space.class_names, strict=True))


def _listed_columns(truth: LabelTable, labels: Sequence[LabeledBoxes], places: np.ndarray) -> _Columns:
    assert len(labels) == len(truth), "one entry an image of the truth"
    assert all(boxes.space.categories() == truth.space.categories() for boxes in labels), "labels in the truth's label space"
    counts = [len(boxes) for boxes in labels]
    return _Columns(
        image=np.repeat(places, counts),
        boxes_xyxy=np.concatenate([np.zeros((0, 4), np.float32), *(boxes.boxes_xyxy.cpu().numpy() for boxes in labels)]),
        labels=np.concatenate([np.zeros(0, np.int64), *(boxes.labels.cpu().numpy() for boxes in labels)]),
        scores=np.concatenate([np.zeros(0, np.float32), *(boxes.scores.cpu().numpy() for boxes in labels)]),
        is_crowd=np.zeros(sum(counts), bool),
    )


def _precision(wanted: _Columns, found: _Columns, num_images: int, num_classes: int) -> np.ndarray:
    """Precision (10 IoU thresholds, 101 recall levels, K classes); -1 where a class has no truth box."""
    evaluation = COCOeval_faster(
        _in_memory(wanted, num_images, num_classes),
        _in_memory(found, num_images, num_classes),
        iouType="bbox",
        print_function=_silent,
        separate_eval=True,
    )
    evaluation.params.maxDets = [int(np.bincount(found.image).max())]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, 0, 0]


def _in_memory(columns: _Columns, num_images: int, num_classes: int) -> COCO:
    """A COCO object with ids from 1 in place of the files' own (id 0 means "not matched" to the evaluator)."""
    corners = columns.boxes_xyxy.astype(np.float64)
    sizes = corners[:, 2:] - corners[:, :2]
    rows = zip(
        columns.image.tolist(),
        columns.labels.tolist(),
        np.concatenate([corners[:, :2], sizes], axis=1).tolist(),
        sizes.prod(axis=1).tolist(),
        columns.scores.tolist(),
        columns.is_crowd.tolist(),
        strict=True,
    )
    annotations = [
        {"id": i, "image_id": image + 1, "category_id": k + 1, "bbox": box, "area": area, "score": score, "iscrowd": int(crowd)}
        for i, (image, k, box, area, score, crowd) in enumerate(rows, start=1)
    ]
    images = [{"id": i + 1} for i in range(num_images)]
    categories = [{"id": k + 1, "name": str(k)} for k in range(num_classes)]
    return COCO({"images": images, "categories": categories, "annotations": annotations}, print_function=_silent)


def _silent(*_: object) -> None:
    """Swallow what the evaluator would print."""


def _mean(precision: np.ndarray) -> float | None:
    """Mean over defined entries in percent; None if there is none."""
    defined = precision[precision > -1]
    return 100 * float(defined.mean()) if len(defined) else None
