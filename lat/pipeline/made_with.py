"""Whether a run's folder was made with the settings of this command, for the stages that only read what is there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from lat.config.load import load_config
from lat.config.places import absolute
from lat.core.errors import InputError
from lat.workspace.run_folder import shown_folder
from lat.workspace.workspace import Workspace

READERS = ("evaluate", "report")
"""The stages that make nothing themselves: with other settings they would tell of a run that does not exist."""

_FREE = ("output_dir", "data_root", "datasets", "target", "runtime", "downstream", "evaluation")
"""Sections that say where a run and its data are, on what it runs, or what these stages or a further detector make of it."""

_SHOWN = 3


def require_made_with(workspace: Workspace, stages: Collection[str]) -> None:
    """Refuse to evaluate or report on a folder that was made with other settings.

    Args:
        workspace: the run as the command's settings describe it.
        stages: the stages of the command.

    Raises:
        InputError: naming the settings that differ, and the command that takes those of the folder.
    """
    made = workspace.paths.resolved_config
    if not stages or not set(stages) <= set(READERS) or not made.is_file():
        return
    try:
        there = load_config(made).to_dict()
    except InputError:  # of another version of the program, or edited: what can be read of the run decides
        return
    here = workspace.config.to_dict()
    kept = [key for key in here if key not in _FREE]
    there, here = (absolute({key: one.get(key) for key in kept}) for one in (there, here))
    for one in (there, here):
        one["training"].pop("trackers", None)  # which only show figures
    there["upstream"]["min_ap"] = here["upstream"]["min_ap"]  # which stops a run or does not
    found = list(_differences(there, here))
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        what = f"was made with other settings: {', '.join(found[:_SHOWN])}{more}"
        command = next(stage for stage in READERS[::-1] if stage in stages)
        folder = shown_folder(workspace.config.output_dir)
        remedy = f"run `lat {command} {folder}`, which uses those, or `lat run` with these first"
        raise InputError(folder, what, remedy)


def tell_renamed(workspace: Workspace, say: Callable[[str], None]) -> None:
    """Say what is done again because a dataset has another name than when this folder was made."""
    made = workspace.paths.resolved_config
    if not made.is_file():
        return
    try:
        before = {_place(entry): entry["name"] for entry in absolute(load_config(made).to_dict())["datasets"]}
    except InputError:
        return
    for entry in absolute(workspace.config.to_dict())["datasets"]:
        old, new = before.get(_place(entry)), entry["name"]
        if old not in (None, *workspace.names):
            again = f"its detector and all labels in its classes are made again (name it {old} to keep them)"
            say(f"datasets.{new}: was {old} when {shown_folder(workspace.config.output_dir)} was made; {again}")


def _place(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells a dataset from others, whatever its name."""
    return entry["images"], entry["annotations"], entry["split"]


def _differences(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The settings that differ, each as `name=VALUE there, not VALUE`."""
    for key in here:
        one, other = there.get(key), here[key]
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differences(one, other, f"{prefix}{key}.")
        elif one != other:
            values = [str(value) if len(str(value)) <= 30 else "..." for value in (one, other)]
            yield f"{prefix}{key}={values[0]} there, not {values[1]}" if values[0] != values[1] else f"{prefix}{key}"
