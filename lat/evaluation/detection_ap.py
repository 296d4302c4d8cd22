"""Average precision of labels against truth, as COCO computes it. The computing is hotcoco's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lat.core.collector import uncollected
from lat.evaluation.ap_margins import ap_margins
from lat.evaluation.box_columns import BoxColumns, FoundBoxes, paired_columns
from lat.labels.chunks import chunks_of
from lat.labels.table import LabelTable

if TYPE_CHECKING:
    from lat.core.structures import LabeledBoxes


@dataclass(frozen=True)
class ApResult:
    """Average precision in 0..100; None if there is no truth box.

    A margin is half of a 95 % interval over images (`ApMargins`).

    Attributes:
        ap: mean over classes of the AP at IoU 0.50, 0.55 .. 0.95.
        ap50: mean over classes of the AP at IoU 0.50.
        ap75: the same at IoU 0.75.
        ap85: the same at IoU 0.85, which tells how well boxes fit.
        per_class: AP[.5:.95] by class name, in the order of the label space.
        images: number of truth images.
        boxes: number of truth boxes without crowd boxes.
        labels: number of labels that were scored.
        ap_margin: the margin of `ap`.
        ap50_margin: the margin of `ap50`.
        per_class_margin: the margin of each of `per_class`.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap85: float | None
    per_class: dict[str, float | None]
    images: int
    boxes: int
    labels: int
    ap_margin: float | None
    ap50_margin: float | None
    per_class_margin: dict[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return asdict(self)


def detection_ap(truth: LabelTable, labels: LabelTable | FoundBoxes | Iterable[LabeledBoxes]) -> ApResult:
    """Score labels against truth, over all object sizes.

    All labels of an image count, with no limit on their number (COCO's own limit of the best 100 would drop boxes). In the
    truth's crowd boxes, labels are neither right nor wrong; crowd boxes of a labels file are ignored.

    Args:
        truth: the boxes to find.
        labels: a labels file of the same images, matched by image id, with the same categories, matched by id; or the boxes
            of each image, in the order of the truth's images, or those that were kept of them.

    Raises:
        InputError: if the categories differ, or an image is in only one file.
    """
    return ap_of_columns(*paired_columns(truth, labels), len(truth), truth.space.class_names)


def ap_of_columns(wanted: BoxColumns, found: BoxColumns, num_images: int, class_names: Sequence[str]) -> ApResult:
    """Score labels against truth, both as `paired_columns` gives them."""
    boxes, labels = int((~wanted.is_crowd).sum()), len(found.image)
    precision = _precision(wanted, found, num_images, len(class_names)) if labels else _nothing_found(wanted, len(class_names))
    margins = ap_margins(wanted, found, num_images, class_names)
    return ApResult(
        ap=_mean(precision),
        ap50=_mean(precision[0]),
        ap75=_mean(precision[5]),
        ap85=_mean(precision[7]),
        per_class={name: _mean(precision[:, :, k]) for k, name in enumerate(class_names)},
        images=num_images,
        boxes=boxes,
        labels=labels,
        ap_margin=margins.ap,
        ap50_margin=margins.ap50,
        per_class_margin=margins.per_class,
    )


def _nothing_found(wanted: BoxColumns, num_classes: int) -> np.ndarray:
    """What `_precision` is without labels."""
    precision = np.full((10, 101, num_classes), -1.0)
    precision[:, :, wanted.labels[~wanted.is_crowd]] = 0
    return precision


def _precision(wanted: BoxColumns, found: BoxColumns, num_images: int, num_classes: int) -> np.ndarray:
    """Precision (10 IoU thresholds, 101 recall levels, K classes); -1 for classes without truth boxes.

    Images are matched a chunk at a time, and of each only scores and matches are kept.
    """
    from hotcoco import Params, StreamingEval

    params = Params("bbox")
    params.max_dets = [int(np.bincount(found.image).max())]
    params.area_rng, params.area_rng_lbl = [[0.0, 1e10]], ["all"]
    matching = StreamingEval([{"id": k, "name": str(k)} for k in range(num_classes)], "bbox", params=params)
    with uncollected():
        for images in chunks_of(num_images):
            matching.update([{"id": i} for i in images], _truth_rows(wanted.of(images)), _label_rows(found.of(images)))
    evaluation = matching.finalize()
    evaluation.accumulate()
    assert evaluation.eval is not None
    result: np.ndarray = evaluation.eval["precision"][:, :, :, 0, 0]
    return result


def _truth_rows(columns: BoxColumns) -> list[dict[str, Any]]:
    """Annotations as in a COCO file, with ids from 1 (evaluators may take 0 for "not matched"); without what goes without saying:
    crowd flags of 0, and areas, as boxes of all sizes count.
    """
    rows = zip(columns.image.tolist(), columns.labels.tolist(), _xywh(columns).tolist(), columns.is_crowd.tolist(), strict=True)
    return [
        {"id": i, "image_id": image, "category_id": k, "bbox": box, "iscrowd": 1}
        if is_crowd
        else {"id": i, "image_id": image, "category_id": k, "bbox": box}
        for i, (image, k, box, is_crowd) in enumerate(rows, start=1)
    ]


def _label_rows(columns: BoxColumns) -> np.ndarray:
    """(N, 7) float64 rows of image, x, y, width, height, score, class."""
    return np.column_stack([columns.image, _xywh(columns), columns.scores, columns.labels])


def _xywh(columns: BoxColumns) -> np.ndarray:
    corners = columns.boxes_xyxy.astype(np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def _mean(precision: np.ndarray) -> float | None:
    """Mean over defined entries in percent; None if there is none."""
    defined = precision[precision > -1]
    return 100 * float(defined.mean()) if len(defined) else None
