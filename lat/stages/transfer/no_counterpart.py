"""Source classes that surely have no counterpart in the target's space, and what became of their boxes."""

from __future__ import annotations

from lat.evaluation.transfer_quality import agreement
from lat.labelling.class_shares import without_counterpart
from lat.labels.table import LabelTable
from lat.stages.transfer.evidence import RunEvidence
from lat.workspace.label_files import counted_labels, read_transferred
from lat.workspace.workspace import Workspace


def boxes_without_counterpart(workspace: Workspace, source: str, target: str) -> LabelTable:
    """The human boxes of the training images of `source` whose class has no counterpart; all images, most without any."""
    labels = workspace.data.train_part(source).labels
    classes = without_counterpart(RunEvidence(workspace, source, target).counts_on_target).numpy()
    return labels.where(~labels.is_crowd & classes[labels.labels])


def what_became_of_them(workspace: Workspace, source: str, target: str) -> str | None:
    """A line that names the source classes without a counterpart and says what their boxes became; None without any.

    Transferred labels that `evaluation.counted_threshold` leaves out do not count.
    """
    counts = RunEvidence(workspace, source, target).counts_on_target
    found = without_counterpart(counts).nonzero().flatten().tolist()
    if not found:
        return None
    own = workspace.data.train_part(source).labels
    counted = counted_labels(workspace, read_transferred(workspace, source, target))
    changes = agreement(own, counted).to_dict()["class_changes"]
    parts = []
    for c in found:
        name, boxes = own.space.class_names[c], int((own.labels[~own.is_crowd] == c).sum())
        became = ", ".join(changes[name]) or "anything"
        share = 100 * float(counts[c, -1] / counts[c].sum())
        parts.append(f"{name} ({share:.0f} % match nothing): {sum(changes[name].values())} of {boxes} became {became}")
    return f"{source} -> {target}: no counterpart for {'; '.join(parts)}"
