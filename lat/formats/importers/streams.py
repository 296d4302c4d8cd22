"""Annotation files read record by record, so that memory does not grow with their size."""

from __future__ import annotations

import csv
import json
import re
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
_NUMBERED_LETTER = re.compile(rb"\\u00[4-7]")
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
        if error.errno is None:  # a library says so of what is in the file
            raise InputError(path, f"is not {kind} ({_first_line(error)})", _AGAIN) from None
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
        ValueError: if it is too deep; at the end, if the object has the list twice.
    """
    key = prefix.partition(".")[0] if "." in prefix else ""
    with open_regular(path) as file:
        once = _Once(ShallowFile(file), key.encode())
        yield from ijson.items(once, prefix, use_float=True)
    if key and once.may_be_twice and _count(path, key) > 1:
        raise ValueError(f"it has `{key}` twice")


class _Once:
    """A file that is read in pieces, and in passing looks whether a key of its object may be there twice.

    Attributes:
        may_be_twice: whether the key's text is there twice, or a letter is written as a number, as that of a key may be.
    """

    def __init__(self, file: ShallowFile, key: bytes) -> None:
        self._file, self._text = file, b'"' + key + b'"'
        self._overlap, self._found, self.may_be_twice = b"", 0, False

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        text = self._overlap + piece
        self._found += text.count(self._text) - self._overlap.count(self._text)
        self.may_be_twice |= self._found > 1 or _NUMBERED_LETTER.search(text) is not None
        self._overlap = text[-len(self._text) :]
        return piece


def _count(path: Path, key: str) -> int:
    """How often the object of a JSON file has a key, at a third of the speed."""
    with open_regular(path) as file:
        events = ijson.parse(ShallowFile(file))
        return sum(event == "map_key" and place == "" and value == key for place, event, value in events)


def text_lines(path: Path, kind: str) -> list[str]:
    """The lines of a text file, which should be `kind`, in UTF-8; a byte order mark, as Windows writes it, is left out.

    Raises:
        InputError: if it is missing, not a file, or not such text.
    """
    with reading(path, kind):
        return read_regular(path, MOST_TEXT_BYTES).decode("utf-8-sig").splitlines()
