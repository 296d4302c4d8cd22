"""Problems in a COCO file, and JSON records read column by column so that every problem names its item.

A column is checked as a whole (half a million annotations in about a tenth of a second); single records are inspected only if
the column is invalid.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from lat.core.documents import parse_json
from lat.core.errors import InputError, is_encodable, looked_for
from lat.core.remote import name_of, read_bytes

SHOWN_PROBLEMS = 10

_MISSING: Any = object()
NOTHING: Mapping[int, Any] = MappingProxyType({})

Column = tuple[np.ndarray, np.ndarray]
"""Values (N, ...) and (N,) bool: True for valid values; invalid ones read as 0."""


@dataclass(frozen=True)
class Problem:
    """One problem: the file, the item, what is wrong, and what to do about it."""

    file: Path
    item: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        line = ": ".join(part for part in (self.item, self.what) if part)
        return line + (f"; {self.remedy}" if self.remedy else "")


def load_json(path: Path, problems: list[Problem], kinds: type | tuple[type, ...] = dict) -> Any:
    """The JSON value in a file, or None with a problem if it cannot be read or has none of the types `kinds`."""
    try:
        document = parse_json(read_bytes(path, renew=True))
    except InputError as error:
        problems.append(Problem(path, "", error.what, error.remedy))
    except FileNotFoundError:
        problems.append(Problem(path, "", f"no such file{looked_for(path)}", "correct the path"))
    except OSError as error:
        problems.append(Problem(path, "", f"the file cannot be read ({error.strerror})"))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        problems.append(Problem(path, "", f"not JSON: {error.msg} at {where}", "write the file again"))
    except (ValueError, RecursionError) as error:
        problems.append(Problem(path, "", f"not JSON: {error}", "write the file again"))
    else:
        if isinstance(document, kinds):
            return document
        problems.append(Problem(path, "", "not a COCO labels file", "it must be an object with images, annotations, categories"))
    return None


def raise_problems(path: Path, problems: Sequence[Problem]) -> None:
    """Raise an `InputError` with the first ten problems and their total number; do nothing if there are none."""
    if not problems:
        return
    where = name_of(path)
    if len(problems) == 1:
        raise InputError(where, ": ".join(part for part in (problems[0].item, problems[0].what) if part), problems[0].remedy)
    shown = tuple(str(problem) for problem in problems[:SHOWN_PROBLEMS])
    more = len(problems) - len(shown)
    details = (*shown, f"... and {more} more") if more else shown
    raise InputError(where, f"{len(problems)} problems", "correct them and start again (`lat check` lists all)", details)


class Records:
    """A list of JSON objects of one kind, read column by column.

    Attributes:
        is_list: False if the file has no list of records, which is then reported.
        sound: (N,) bool, False for each record with a reported problem.
        ids: (N,) int64, the column `id`.
        id_is_sound: (N,) bool, False if the id is not a whole number; `ids` is then 0.

    Args:
        path: the file of the records.
        document: the JSON object in it.
        key: the key of the records, e.g. `annotations`; a single one is named by it without the plural s.
        problems: the list to add problems to.
    """

    def __init__(self, path: Path, document: dict[str, Any], key: str, problems: list[Problem]) -> None:
        self._path, self._key, self._problems = path, key, problems
        self._kind = "category" if key == "categories" else key.removesuffix("s")
        values = document.get(key, _MISSING)
        self.is_list = isinstance(values, list)
        if not self.is_list:
            problems.append(Problem(path, "", _say(key, values), f"`{key}` must be a list of objects"))
            values = []
        self.sound = np.ones(len(values), dtype=bool)
        self._records: list[dict[str, Any]] = values
        self._objects = self.sound
        self.ids, self.id_is_sound = np.zeros(len(values), dtype=np.int64), ~self.sound
        self._check_objects()
        self.ids, self.id_is_sound = self.integers("id")

    def __len__(self) -> int:
        return len(self._records)

    def _check_objects(self) -> None:
        if set(map(type, self._records)) <= {dict}:
            return
        objects = np.fromiter((type(record) is dict for record in self._records), bool, len(self))
        self.report(~objects, lambda row: f"is {_show(self._records[row])}, not an object")
        self._objects = objects
        self._records = [record if is_object else {} for record, is_object in zip(self._records, objects, strict=True)]

    def item(self, row: int) -> str:
        """The name of a record: by its id if that is a number, else by its position in the list."""
        return f"{self._kind} {self.ids[row]}" if self.id_is_sound[row] else f"{self._key}[{row}]"

    def report(self, wrong: np.ndarray, what: Callable[[int], str], remedy: str = "") -> None:
        """Report the records that are objects and for which `wrong` (N,) is True; `what(row)` says what is wrong."""
        for row in np.flatnonzero(wrong & self._objects).tolist():
            self._problems.append(Problem(self._path, self.item(row), what(row), remedy))
        self.sound = self.sound & ~wrong

    def report_repeated_ids(self, remedy: str) -> None:
        """Report each record that repeats an earlier id."""
        rows = np.flatnonzero(self.id_is_sound)
        repeated = self.id_is_sound.copy()
        repeated[rows[np.unique(self.ids[rows], return_index=True)[1]]] = False
        self.report(repeated, lambda row: "the id occurs more than once in the file", remedy)

    def values(self, key: str) -> list[Any]:
        """The unchecked column `key`; None for missing values."""
        return [record.get(key) for record in self._records]

    def integers(self, key: str) -> Column:
        """The column `key`, (N,) int64, and (N,) bool: True if valid; anything but a whole number is reported."""
        values, sound = self._checked(key, self._get(key), {int}, "a whole number")
        return np.array(values, dtype=np.int64), sound

    def numbers(self, key: str, default: float | None = None, null_as_default: bool = False) -> Column:
        """The column `key`, (N,) float64, and (N,) bool: True if valid; anything but a finite number is reported."""
        values = self._get(key) if default is None else [record.get(key, default) for record in self._records]
        if null_as_default:
            values = [default if value is None else value for value in values]
        values, sound = self._checked(key, values, {int, float}, "a number")
        column = np.array(values, dtype=np.float64)
        finite = np.asarray(np.isfinite(column))
        self.report(~finite, lambda row: f"`{key}` is {_show(values[row])}", f"write a finite `{key}`")
        return np.where(finite, column, 0.0), sound & finite

    def optional_numbers(self, key: str) -> Column:
        """The column `key`, (N,) float64 with 0 for missing and null values, and (N,) bool: True if present."""
        there = np.fromiter((value is not None for value in self.values(key)), bool, len(self))
        if not there.any():
            return np.zeros(len(self)), there
        return self.numbers(key, default=0.0, null_as_default=True)[0], there

    def shown(self, key: str, row: int) -> str:
        """What a record has under a key, for a problem."""
        return _say(key, self._records[row].get(key, _MISSING))

    def texts(self, key: str) -> tuple[list[str], np.ndarray]:
        """The column `key`, N strings, and (N,) bool: True if valid; anything but a string of whole characters is reported."""
        values, sound = self._checked(key, self._get(key), {str}, "a string")
        broken = np.fromiter((not is_encodable(value) for value in values), bool, len(self))
        self.report(broken, lambda row: f"`{key}` {values[row]!r} has half a character", "correct it")
        return values, sound & ~broken

    def number_rows(self, key: str, width: int, instead: Mapping[int, Any] = NOTHING) -> Column:
        """The column `key`, (N, width) float64, and (N,) bool; anything but `width` finite numbers is reported.

        `instead` has what is read in some rows in place of what is there.
        """
        values = self._get(key)
        for row, value in instead.items():
            values[row] = value
        sound = np.ones(len(self), dtype=bool)
        if not _are_number_rows(values, width):
            sound = np.fromiter((_are_number_rows([value], width) for value in values), bool, len(self))
            self.report(~sound, lambda row: _say(key, values[row]), f"`{key}` must be a list of {width} numbers")
        filled = values if sound.all() else [v if ok else [0.0] * width for v, ok in zip(values, sound, strict=True)]
        array = np.array(filled, dtype=np.float64).reshape(len(self), width)
        finite = np.asarray(np.isfinite(array).all(axis=1))
        self.report(~finite, lambda row: _say(key, values[row]), f"write finite numbers in `{key}`")
        return np.where(finite[:, None], array, 0.0), sound & finite

    def _get(self, key: str) -> list[Any]:
        return [record.get(key, _MISSING) for record in self._records]

    def _checked(self, key: str, values: list[Any], types: set[type], wanted: str) -> tuple[list[Any], np.ndarray]:
        """The column with invalid values replaced by 0 or "", and (N,) bool: True if valid."""
        if _are_all(values, types):
            return values, np.ones(len(self), dtype=bool)
        sound = np.fromiter((_are_all([value], types) for value in values), bool, len(self))
        self.report(~sound, lambda row: _say(key, values[row]), f"`{key}` must be {wanted}")
        fill = "" if str in types else 0
        return [value if is_sound else fill for value, is_sound in zip(values, sound, strict=True)], sound


def _are_all(values: list[Any], types: set[type]) -> bool:
    """Whether all values are of these types (true and false are not numbers) and, if numbers, fit into 64 bits."""
    if not set(map(type, values)) <= types:
        return False
    return str in types or _fit(values, np.float64 if float in types else np.int64)


def _fit(values: list[Any], dtype: type) -> bool:
    try:
        np.array(values, dtype=dtype)
    except OverflowError:
        return False
    return True


def _are_number_rows(values: list[Any], width: int) -> bool:
    if not set(map(type, values)) <= {list} or not set(map(len, values)) <= {width}:
        return False
    return set(map(type, chain.from_iterable(values))) <= {int, float} and _fit(values, np.float64)


def _say(key: str, value: Any) -> str:
    return f"`{key}` is missing" if value is _MISSING else f"`{key}` is {_show(value)}"


def _show(value: Any) -> str:
    """A JSON value as in the file, cut to 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
