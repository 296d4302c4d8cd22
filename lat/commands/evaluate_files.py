"""Score any labels file against any truth file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lat.core.files import write_atomically
from lat.evaluation.label_figures import label_figures
from lat.labels.coco.read import read_labels

SCORE_THRESHOLD = 0.5
"""Labels below it do not count in precision, recall and F1; the default of a run's configuration."""


def evaluate_files(truth: Path, labels: Path) -> dict[str, Any]:
    """AP and label quality, as JSON types; see `label_figures`.

    Args:
        truth: a COCO file of known labels.
        labels: a COCO file of labels of the same images, with the same categories.

    Raises:
        InputError: if a file is wrong, the categories differ, or an image is in one file only.
    """
    return label_figures(read_labels(truth, truth.stem), read_labels(labels, labels.stem), SCORE_THRESHOLD)


def write_figures(path: Path, figures: dict[str, Any]) -> None:
    """Write what `evaluate_files` returned as a JSON file."""
    write_atomically(path, json.dumps(figures, indent=2, allow_nan=False) + "\n")
