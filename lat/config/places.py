"""Where the paths of a configuration count from: the folder of its file.

A path typed on a command line, or given from Python, counts from the working directory, as any that is typed does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lat.core.errors import InputError, looked_for
from lat.core.remote import is_url

_PATHS = (
    *("output_dir", "data_root", "downstream.class_map", "transfer.prior.table", "relations.file", "answers"),
    *(f"datasets.*.{name}" for name in ("images", "annotations", "validation", "validation_images", "truth.*")),
    *("label_sets.*.files.*", "label_sets.*.categories"),
)
_MODELS = ("upstream.model", "upstream.members.*.model", "downstream.model")
_NAMES_OR_PATHS = (
    *("lat.backbone.weights", "downstream.yolo.model"),
    *(f"{model}.{name}" for model in _MODELS for name in ("weights", "backbone")),
)
_FILES = re.compile(r"\.(pt|pth|bin|pkl|ckpt|safetensors|ya?ml)", re.IGNORECASE)

Change = Callable[[str, str], str]


def map_paths(content: Any, change: Change, key: str = "") -> Any:
    """Plain settings with another text in place of each path of this machine: `change(key, path)`.

    Names of weights and networks count as paths too, since only a look at the disk can tell.
    """
    if isinstance(content, Mapping):
        return {name: map_paths(value, change, f"{key}.{name}" if key else str(name)) for name, value in content.items()}
    if isinstance(content, list):
        return [map_paths(value, change, f"{key}.{number}") for number, value in enumerate(content)]
    return change(key, content) if isinstance(content, str) and _is_path(key, content) else content


def _is_path(key: str, text: str) -> bool:
    """True for a setting that is a path of this machine, or may be one: weights, and a YAML file in place of a backbone."""
    if not text or text == "???" or is_url(text):
        return False
    if any(fnmatchcase(key, one) for one in _NAMES_OR_PATHS):
        return text not in ("none", "pretrained") and (not key.endswith(".backbone") or _has_ending(text))
    return any(fnmatchcase(key, one) for one in _PATHS)


def _may_be_name(key: str, path: str) -> bool:
    """True for what a library knows if there is no such file: a YOLO, a configuration of Detectron2, weights on a hub."""
    is_known = key == "downstream.yolo.model" or key.endswith(".backbone") or (key.endswith(".weights") and not _has_ending(path))
    return is_known and not path.startswith(".")


def _has_ending(text: str) -> bool:
    return _FILES.fullmatch(Path(text).suffix) is not None


def in_folder(folder: Path, path: str) -> str:
    """A path that counts from a folder, as one that counts from the working directory; as short as it can be."""
    joined = os.path.join(folder, path)
    short = os.path.normpath(joined)
    return short if "${" not in path and os.path.realpath(short) == os.path.realpath(joined) else joined


def placed(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The content of a file in this folder, its paths made to count from the working directory.

    A path whose beginning is another setting (`${data_root}/images`) follows that one. What may also be a name, as of weights to
    be downloaded, is a path only if there is such a file.
    """

    def place(key: str, path: str) -> str:
        if folder == Path() or path.startswith("${") or os.path.isabs(path):
            return path
        found = in_folder(folder, path)
        return found if not _may_be_name(key, path) or os.path.exists(found) else path

    result: dict[str, Any] = map_paths(content, place)
    return result


def seen_from(folder: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose paths count from the working directory, as a file in this folder has them; absolute ones stay."""

    def see(key: str, path: str) -> str:
        return path if _may_be_name(key, path) and not os.path.exists(path) else path_from(folder, path)

    result: dict[str, Any] = map_paths(content, see)
    return result


def absolute(content: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose paths count from the working directory, with absolute ones."""

    def make_absolute(key: str, path: str) -> str:
        return path if _may_be_name(key, path) and not os.path.exists(path) else os.path.abspath(path)

    result: dict[str, Any] = map_paths(content, make_absolute)
    return result


def by_name(content: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the names of files and folders alone, to be hashed: the same wherever these lie, in whatever folder."""
    result: dict[str, Any] = map_paths(content, lambda _, path: Path(path).name)
    return result


def path_from(folder: Path, path: str) -> str:
    """A path that counts from the working directory, as one that counts from a folder; absolute if links are in the way."""
    if os.path.isabs(path) or is_url(path) or path.startswith("${"):
        return path
    found = os.path.relpath(path, folder)
    is_same = os.path.realpath(os.path.join(folder, found)) == os.path.realpath(path)
    return found if is_same else os.path.abspath(path)


def named_files(content: Mapping[str, Any]) -> list[str]:
    """The files here that settings name, but for the datasets', as the settings have them: weights, tables, labels of outside."""
    return sorted({path for key, path in _paths(content) if not key.startswith("datasets.") and os.path.isfile(path)})


def is_any_missing(content: Mapping[str, Any]) -> bool:
    """True if a path of the settings is not there, which may be because it is in another place."""
    return any(not os.path.exists(path) for _, path in _paths(content))


def refuse_old_places(content: Mapping[str, Any], as_before: Mapping[str, Any], where: Path) -> None:
    """Raise an `InputError` for a path that is in the working directory, and not in the folder of the file, where it belongs.

    Args:
        content: the settings, their paths counting from the folder of the file.
        as_before: the same settings with paths that count from the working directory, as they once did.
        where: the file.
    """
    before = dict(_paths(as_before))
    for key, path in _paths(content):
        old = before.get(key, path)
        if key == "data_root" or old == path or os.path.exists(path) or not _is_there(key, old):
            continue
        if old.startswith(f"{before['data_root']}{os.sep}"):
            key, old, path = "data_root", before["data_root"], content["data_root"]
        kind = "a run in" if key == "output_dir" else "which is in"
        what = f"{key} is {old}, {kind} the working directory; paths count from the folder of this file"
        remedy = f"write {path_from(where.parent, old)}" + (f", or ./{old} for a new run" if key == "output_dir" else "")
        raise InputError(where, f"{what}{looked_for(path)}", remedy)


def _is_there(key: str, path: str) -> bool:
    if key == "output_dir":
        return not path.startswith(".") and os.path.isdir(os.path.join(path, ".state"))
    return os.path.exists(path)


def _paths(content: Any) -> Iterator[tuple[str, str]]:
    """All paths of plain settings, with the key of each."""
    found: list[tuple[str, str]] = []

    def note(key: str, path: str) -> str:
        found.append((key, path))
        return path

    map_paths(content, note)
    return iter(found)
