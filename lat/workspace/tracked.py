"""What the trainings of a run are called where trackers show them."""

from __future__ import annotations

import re
from pathlib import Path

from lat.core.remote import is_url
from lat.engine.tracked_run import TrackedRun
from lat.workspace.run_folder import shown_folder
from lat.workspace.workspace import Workspace

_NOT_IN_PROJECTS = re.compile(r"[/\\#?%:]")  # of Weights & Biases
_LONGEST_PROJECT = 128
_OF_COPIES = re.compile(r"\.[0-9a-f]{12}\.workers$")  # what `workers_folder` adds to the name of a folder at a URL


def tracked_run(workspace: Workspace, dataset: str, stage: str, more: str = "") -> TrackedRun:
    """The run `DATASET/STAGE` in the project that is called like the folder of the run of `lat`.

    Args:
        workspace: the run, seen from its round, which is part of the name of further ones.
        dataset: whose model is trained; "all" for the label-transfer model.
        stage: what is trained.
        more: tells several of one dataset and stage apart.
    """
    place = shown_folder(workspace.config.output_dir)
    project = place.rstrip("/").rpartition("/")[2] if is_url(place) else _OF_COPIES.sub("", Path(place).resolve().name)
    number = f"round {workspace.round}" if workspace.round else ""
    name = " ".join(filter(None, (f"{dataset}/{stage}", more, number)))
    return TrackedRun(workspace.paths.root, _NOT_IN_PROJECTS.sub("_", project)[:_LONGEST_PROJECT] or "lat", name)
