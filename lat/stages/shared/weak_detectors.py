"""The gate before labelling: a run stops if a detector is too weak on held-out images (`upstream.min_ap`)."""

from __future__ import annotations

from collections.abc import Sequence

from lat.core.errors import InputError
from lat.core.remote import is_file
from lat.workspace.result_files import read_metrics
from lat.workspace.steps import Step
from lat.workspace.workspace import Workspace


def refuse_weak_detectors(workspace: Workspace, steps: Sequence[Step]) -> None:
    """Raise an `InputError` if a detector in whose space these steps label has an AP below `upstream.min_ap`.

    Every member of a detector has to reach it. Datasets without held-out images pass, and so do detectors that are yet to be
    trained.

    Args:
        workspace: the run, seen from the round of the steps.
        steps: steps of `pseudo-label`.

    Raises:
        InputError: it names each such detector with its AP.
    """
    least, spaces = workspace.config.upstream.min_ap, {step.member for step in steps}
    if not least:
        return
    weak = []
    for space in (name for name in workspace.renewed if name in spaces):
        for member in range(workspace.config.num_members(space)):
            path = workspace.paths.upstream_metrics(space, member)
            ap = read_metrics(path)["ap"] if is_file(path) else None
            if ap is not None and ap < least:
                name = f"{space} (member {member})" if member else space
                weak.append(f"the detector of {name} has AP {ap:.1f}")
    if weak:
        found = f"on held-out images {', '.join(weak)}, below {least:g}"
        better = "train longer (upstream.training.steps), on larger images or from pretrained weights (upstream.model)"
        raise InputError("upstream.min_ap", found, f"{better}, or choose a lower threshold")
