"""All figures of labels against truth that a run writes and prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lat.evaluation.detection_ap import detection_ap
from lat.evaluation.label_quality import label_quality
from lat.labels.table import LabelTable

if TYPE_CHECKING:
    from lat.core.structures import LabeledBoxes


def label_figures(truth: LabelTable, labels: LabelTable | Sequence[LabeledBoxes], score_threshold: float) -> dict[str, Any]:
    """AP, and the quality of the labels at or above a score, as JSON types.

    The keys are those of `ApResult` and `LabelQuality`; arguments and errors are those of `detection_ap`.
    """
    return {**detection_ap(truth, labels).to_dict(), **label_quality(truth, labels, score_threshold).to_dict()}
