"""Average precision of labels against truth, as COCO computes it. The computing is faster-coco-eval's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lat.evaluation.box_columns import BoxColumns, paired_columns
from lat.labels.table import LabelTable

if TYPE_CHECKING:
    from faster_coco_eval import COCO

    from lat.core.structures import LabeledBoxes


@dataclass(frozen=True)
class ApResult:
    """Average precision in 0..100; None if there is no truth box.

    Attributes:
        ap: mean over classes of the AP at IoU 0.50, 0.55 .. 0.95.
        ap50: mean over classes of the AP at IoU 0.50.
        ap75: the same at IoU 0.75.
        ap85: the same at IoU 0.85, which tells how well boxes fit.
        per_class: AP[.5:.95] by class name, in the order of the label space.
        images: number of truth images.
        boxes: number of truth boxes without crowd boxes.
        labels: number of labels that were scored.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap85: float | None
    per_class: dict[str, float | None]
    images: int
    boxes: int
    labels: int

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return asdict(self)


def detection_ap(truth: LabelTable, labels: LabelTable | Sequence[LabeledBoxes]) -> ApResult:
    """Score labels against truth, over all object sizes.

    All labels of an image count, with no limit on their number (COCO's own limit of the best 100 would drop boxes). In the
    truth's crowd boxes, labels are neither right nor wrong; crowd boxes of a labels file are ignored.

    Args:
        truth: the boxes to find.
        labels: a labels file of the same images, matched by image id, with the same categories, matched by id; or the boxes
            of each image, in the order of the truth's images.

    Raises:
        InputError: if the categories differ, or an image is in only one file.
    """
    wanted, found = paired_columns(truth, labels)
    counted = wanted.labels[~wanted.is_crowd]
    names = truth.space.class_names
    if not len(found.image):
        per_class = {name: 0.0 if (counted == k).any() else None for k, name in enumerate(names)}
        nothing = 0.0 if len(counted) else None
        return ApResult(nothing, nothing, nothing, nothing, per_class, len(truth), len(counted), 0)
    precision = _precision(wanted, found, len(truth), len(names))
    return ApResult(
        ap=_mean(precision),
        ap50=_mean(precision[0]),
        ap75=_mean(precision[5]),
        ap85=_mean(precision[7]),
        per_class={name: _mean(precision[:, :, k]) for k, name in enumerate(names)},
        images=len(truth),
        boxes=len(counted),
        labels=len(found.image),
    )


def _precision(wanted: BoxColumns, found: BoxColumns, num_images: int, num_classes: int) -> np.ndarray:
    """Precision (10 IoU thresholds, 101 recall levels, K classes); -1 for classes without truth boxes."""
    from faster_coco_eval import COCOeval_faster

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
    result: np.ndarray = evaluation.eval["precision"][:, :, :, 0, 0]
    return result


def _in_memory(columns: BoxColumns, num_images: int, num_classes: int) -> COCO:
    """A COCO object with ids from 1 instead of the files' own (the evaluator takes id 0 as "not matched")."""
    from faster_coco_eval import COCO

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
    """Suppress the evaluator's prints."""


def _mean(precision: np.ndarray) -> float | None:
    """Mean over defined entries in percent; None if there is none."""
    defined = precision[precision > -1]
    return 100 * float(defined.mean()) if len(defined) else None
