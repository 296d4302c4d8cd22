"""What was kept of each class as tables on a terminal."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from lat.labelling.filters import kl_divergence
from lat.stages.shared.label_filters import labelled_counts
from lat.workspace.label_files import read_pseudo_labels
from lat.workspace.workspace import Workspace


def print_pseudo_labels(workspace: Workspace, source: str | None = None, space: str | None = None) -> None:
    """Print a table for each file of pseudo-labels that is there, or for those of one source or space."""
    console = Console(highlight=False, markup=False)
    for seen in workspace.rounds():
        for name in (source,) if source else seen.names:
            for other in seen.others(name):
                if other in seen.renewed and space in (None, other) and seen.paths.pseudo_labels(name, other).is_file():
                    console.print(_pseudo_label_table(seen, name, other))


def _pseudo_label_table(seen: Workspace, source: str, space: str) -> Table:
    labels = read_pseudo_labels(seen, source, space)
    kept = np.bincount(labels.labels, minlength=len(labels.space))
    floor = seen.config.pseudo_label.score_threshold
    table = kept_table(labels.space.class_names, labelled_counts(seen, space), kept, labels.info.get("filter"), floor)
    ending = f", round {seen.round}" if seen.round else ""
    table.title = f"{source} in classes of {space}{ending}: {table.title}"
    return table


def kept_table(
    class_names: tuple[str, ...], labelled: np.ndarray, kept: np.ndarray, info: dict[str, Any] | None, floor: float
) -> Table:
    """A row for each class; the divergence of the kept classes from the labelled ones is the title.

    Args:
        class_names: of the label space.
        labelled: (K,) boxes of the target's ground truth.
        kept: (K,) labels that were kept.
        info: what the file says of its filter, or None if there was none.
        floor: threshold of all classes without a filter.
    """
    divergence = kl_divergence(labelled, kept)
    title = "KL divergence from its ground truth " + ("-" if divergence is None else f"{divergence:.5f}")
    table = Table(title=title, title_justify="left")
    table.add_column("class", no_wrap=True)
    for column in ("ground truth", "found", "wanted", "kept", "threshold"):
        table.add_column(column, justify="right")
    info = info or {"found": kept.tolist(), "wanted": None, "thresholds": [floor] * len(kept)}
    for k, name in enumerate(class_names):
        threshold = info["thresholds"][k]
        table.add_row(
            name,
            _count(labelled, k),
            str(info["found"][k]),
            "-" if info["wanted"] is None else str(info["wanted"][k]),
            _count(kept, k),
            "-" if threshold is None else f"{threshold:.3f}",
        )
    return table


def _count(counts: np.ndarray, k: int) -> str:
    """A count, and its share of all."""
    return f"{counts[k]} ({counts[k] / max(1, counts.sum()):.1%})"
