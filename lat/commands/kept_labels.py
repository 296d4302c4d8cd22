"""What a run has kept of its pseudo-labels, class by class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lat.labelling.filters import kl_divergence
from lat.stages.shared.label_filters import labelled_counts
from lat.workspace.label_files import read_pseudo_labels
from lat.workspace.workspace import Workspace


@dataclass(frozen=True)
class ClassCounts:
    """Boxes of one class.

    Attributes:
        name: of the class.
        ground_truth: boxes of it in the ground truth of the dataset whose label space it is of.
        found: detections before the filter.
        wanted: pseudo-labels that the filter wants; None for a filter that wants no number.
        kept: pseudo-labels in the file.
        threshold: the score from which they are kept; None if none is.
    """

    name: str
    ground_truth: int
    found: int
    wanted: int | None
    kept: int
    threshold: float | None


@dataclass(frozen=True)
class KeptLabels:
    """One file of pseudo-labels.

    Attributes:
        title: whose images they are of, in whose classes.
        divergence: KL divergence of the kept classes from those of the ground truth; None where undefined.
        classes: in the order of the label space.
    """

    title: str
    divergence: float | None
    classes: tuple[ClassCounts, ...]


def read_kept_labels(workspace: Workspace, source: str | None = None, space: str | None = None) -> Iterator[KeptLabels]:
    """Every file of pseudo-labels that exists, round by round, or those of one source or in one label space."""
    for of_round in workspace.rounds():
        for name in (source,) if source else of_round.names:
            for other in of_round.others(name):
                if other in of_round.renewed and space in (None, other) and of_round.paths.pseudo_labels(name, other).is_file():
                    yield _read(of_round, name, other)


def _read(of_round: Workspace, source: str, space: str) -> KeptLabels:
    labels = read_pseudo_labels(of_round, source, space)
    kept = np.bincount(labels.labels, minlength=len(labels.space))
    floor = of_round.config.pseudo_label.threshold
    info = labels.info.get("filter") or {"found": kept.tolist(), "wanted": None, "thresholds": [floor] * len(kept)}
    ending = f", round {of_round.round}" if of_round.round else ""
    title = f"{source} in classes of {space}{ending}"
    return count_kept(title, labels.space.class_names, labelled_counts(of_round, space), kept, info)


def count_kept(
    title: str, class_names: tuple[str, ...], labelled: np.ndarray, kept: np.ndarray, info: dict[str, Any]
) -> KeptLabels:
    """Put the counts of the K classes side by side.

    Args:
        title: what they are of.
        class_names: of the label space.
        labelled: (K,) boxes of the ground truth.
        kept: (K,) pseudo-labels that were kept.
        info: what the file says of its filter: lists `found`, `wanted` (or None) and `thresholds` of K values.
    """
    wanted = info["wanted"] or [None] * len(kept)
    columns = (class_names, labelled.tolist(), info["found"], wanted, kept.tolist(), info["thresholds"])
    return KeptLabels(title, kl_divergence(labelled, kept), tuple(ClassCounts(*row) for row in zip(*columns, strict=True)))
