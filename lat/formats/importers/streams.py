"""Annotation files read record by record, so that memory does not grow with their size."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ijson

from lat.core.documents import ShallowFile
from lat.core.errors import InputError
from lat.core.files import refused
from lat.core.regular_files import open_regular, read_regular

MOST_TEXT_BYTES = 256_000_000
_SHOWN = 200  # characters of what a library says of an error
_AGAIN = "download or write it again"


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn errors in reading an annotation file, which should be `kind`, into an `InputError` that names it."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(path, f"is missing; it should be {kind}", "download it") from None
    except OSError as error:
        raise refused(error, path) from None
    except (ijson.JSONError, json.JSONDecodeError) as error:
        raise InputError(path, f"is not JSON ({_first_line(error)})", _AGAIN) from None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, csv.Error) as error:
        raise InputError(path, f"is not {kind} ({type(error).__name__}: {_first_line(error)})", _AGAIN) from None


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n")[:1]).strip()[:_SHOWN]


def json_records(path: Path, prefix: str) -> Iterator[Any]:
    """The values below `prefix` of a JSON file, one at a time: `item` for a list, `images.item` for a list in an object.

    Raises:
        ijson.JSONError: if the file is not JSON.
        ValueError: if it is too deep.
    """
    with open_regular(path) as file:
        yield from ijson.items(ShallowFile(file), prefix, use_float=True)


def text_lines(path: Path, kind: str) -> list[str]:
    """The lines of a text file, which should be `kind`, in UTF-8; a byte order mark, as Windows writes it, is left out.

    Raises:
        InputError: if it is missing, not a file, or not such text.
    """
    with reading(path, kind):
        return read_regular(path, MOST_TEXT_BYTES).decode("utf-8-sig").splitlines()
