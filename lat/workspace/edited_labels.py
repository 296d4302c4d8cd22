"""Labels files of a run that a person has changed since they were written: they count as they are, as long as the inputs of their
step do not change.
"""

from __future__ import annotations

from pathlib import Path

from lat.core.errors import InputError
from lat.labels.coco.read import read_labels
from lat.labels.store.manifest import Manifest
from lat.workspace.label_shards import work_folder
from lat.workspace.workspace import Workspace


def is_edited(workspace: Workspace, path: Path, space: str, inputs: str) -> bool:
    """True if a labels file, which is not as its step has recorded it, is a person's work.

    It is not if it was written from other inputs by a run that was stopped before it recorded that, nor if it cannot be read.

    Args:
        workspace: the run.
        path: the file.
        space: its label space.
        inputs: the input hash of the step that writes it, now and in its record.
    """
    manifest = Manifest.read(work_folder(workspace.paths.root, path) / "manifest.json")
    if manifest is not None and (manifest.inputs != inputs or (manifest.file is not None and manifest.file.is_at(path))):
        return False
    try:
        read_labels(path, space, expect=workspace.data.space(space))
    except (InputError, OSError):
        return False
    return True
