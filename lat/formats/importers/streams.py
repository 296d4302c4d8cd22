"""Annotation files read record by record, so that memory does not grow with their size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ijson

from lat.core.errors import InputError

_AGAIN = "download or write it again"


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn errors in reading an annotation file, which should be `kind`, into an `InputError` that names it."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(path, f"is missing; it should be {kind}", "download it") from None
    except (ijson.JSONError, json.JSONDecodeError) as error:
        raise InputError(path, f"is not JSON ({_first_line(error)})", _AGAIN) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(path, f"is not {kind} ({type(error).__name__}: {_first_line(error)})", _AGAIN) from None


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n")[:1]).strip()


def json_records(path: Path, prefix: str) -> Iterator[Any]:
    """The values below `prefix` of a JSON file, one at a time: `item` for a list, `images.item` for a list in an object.

    Raises:
        ijson.JSONError: if the file is not JSON.
    """
    with path.open("rb") as file:
        yield from ijson.items(file, prefix, use_float=True)
