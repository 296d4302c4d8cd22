"""All figures of labels against truth that a run writes and prints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lat.evaluation.box_columns import paired_columns
from lat.evaluation.detection_ap import ap_of_columns
from lat.evaluation.label_quality import hits_of_columns, quality_of_hits
from lat.labels.table import LabelTable

if TYPE_CHECKING:
    from lat.core.structures import LabeledBoxes


def label_figures(truth: LabelTable, labels: LabelTable | Iterable[LabeledBoxes], score_threshold: float) -> dict[str, Any]:
    """AP, and the quality of the labels at or above a score, as JSON types.

    The keys are those of `ApResult` and `LabelQuality`; arguments and errors are those of `detection_ap`.
    """
    wanted, found = paired_columns(truth, labels)
    ap = ap_of_columns(wanted, found, len(truth), truth.space.class_names)
    quality = quality_of_hits(hits_of_columns(wanted, found, len(truth)), score_threshold)
    return {**ap.to_dict(), **quality.to_dict()}
