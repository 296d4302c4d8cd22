"""Checkpoints: tensors and plain types only, written whole or not at all; equal content gives equal bytes."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lat.core.errors import InputError
from lat.core.files import write_atomically


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint; a reader sees the old file or the new one, never a part.

    Args:
        content: tensors and plain types, nested in any way, with a word under "kind" that says what the file contains.
            Tensors are copied to the CPU, each with its own memory.

    Raises:
        TypeError: if the content has anything but tensors, None, bool, int, float, str, list, tuple and dict.
    """
    assert isinstance(content.get("kind"), str), "a checkpoint names its kind"
    buffer = io.BytesIO()
    torch.save(_plain(content, "checkpoint"), buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path, kind: str) -> dict[str, Any]:
    """Read a checkpoint of a `kind`, with its tensors on the CPU. No code in the file is ever run.

    Raises:
        InputError: if the file is missing or damaged, is not a checkpoint of `lat`, or is of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "there is no such checkpoint", f"train the {_words(kind)} first")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise InputError(path, f"cannot be read as a checkpoint ({first_line[:120]})", "delete it and train again") from error
    if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
        raise InputError(path, "is not a checkpoint of lat", f"choose one that contains a {_words(kind)}")
    if content["kind"] != kind:
        raise InputError(path, f"contains a {_words(content['kind'])}", f"choose a checkpoint that contains a {_words(kind)}")
    _require_numbers(path, content.get("model"))
    return content


@contextmanager
def reading_checkpoint(path: Path) -> Iterator[None]:
    """Turn what goes wrong while something is made of a checkpoint's content into an `InputError` that names the file.

    Raises:
        InputError: if parts of it are missing or are not what they should be.
    """
    try:
        yield
    except InputError as error:
        if error.where != "checkpoint":
            raise
        raise InputError(path, " ".join(error.what.split())[:300], error.remedy) from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        what = f"lacks a part, or has a wrong one ({type(error).__name__}: {' '.join(str(error).split())[:120]})"
        raise InputError(path, what, "delete it and train again") from error


def _require_numbers(path: Path, weights: Any) -> None:
    """Raise an `InputError` if a weight is not a number, as after a training that diverged."""
    for name, value in weights.items() if isinstance(weights, dict) else ():
        if isinstance(value, Tensor) and value.is_floating_point() and bool(torch.isnan(value).any()):
            raise InputError(path, f"its weight {name} is not a number", "delete it and train again, with a lower learning rate")


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _plain(value: Any, where: str) -> Any:
    """The value rebuilt from fresh containers, exact built-in types and interned strings.

    Pickle refers back to an object that it has already written, so equal content gives different bytes if one run shares a
    string and another repeats it. Here equal strings are always one object, and no container is shared.
    """
    if isinstance(value, Tensor):
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return sys.intern(str.__str__(value))
    for plain_type in (int, float):
        if isinstance(value, plain_type):
            return plain_type(value)
    if isinstance(value, Mapping):
        return {_plain(key, where): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    raise TypeError(f"{where} is a {type(value).__name__}; a checkpoint contains only tensors and plain types")
