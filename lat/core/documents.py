"""The one reader of YAML and JSON that users bring: bounded in size, depth, aliases and digits, and checked against a shape.

A shape is a type: `dict[str, list[Row]]`, where `Row` may be a `TypedDict`, `Annotated[int, Meta(ge=1)]` and so on. Nothing is
converted to it: what is read is what the parser gives.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import yaml

from lat.core.errors import InputError, invalid_yaml
from lat.core.regular_files import read_regular

MOST_DEPTH = 64
"""Lists and objects inside one another."""

MOST_ALIASED = 10_000
"""Values that the aliases of a YAML file repeat."""

MOST_YAML_BYTES, MOST_JSON_BYTES = 16_000_000, 2_000_000_000

_NO_BRACKETS = bytes(range(256)).translate(None, b"[]{}")
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # 1 and -1 as int8


def read_yaml(path: Path, shape: Any, remedy: str = "correct the file") -> Any:
    """The content of a YAML file, of plain types alone.

    Args:
        path: the file.
        shape: what it must have; see the module.
        remedy: what to do about a file that has not.

    Raises:
        InputError: naming the file and the item, if it is not YAML, is out of bounds, or is of another shape.
        FileNotFoundError: if it does not exist.
    """
    text = read_yaml_text(path)
    try:
        check_yaml(path, text)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, ArithmeticError, RecursionError) as error:  # as for the date 2020-99-99
        raise invalid_yaml(path, error) from None
    return checked(path, content, shape, remedy)


def read_yaml_text(path: Path) -> str:
    """The text of a YAML file.

    Raises:
        InputError: see `read_yaml`.
        FileNotFoundError: if it does not exist.
    """
    try:
        text = read_regular(path, MOST_YAML_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(path, f"cannot be read ({(error.strerror or '').lower()})", "check the path") from None
    except UnicodeDecodeError as error:
        raise invalid_yaml(path, error) from None
    return text


def check_yaml(where: object, text: str) -> None:
    """Check that a YAML text is bounded in depth and in what its aliases repeat.

    Raises:
        InputError: naming `where`, and the line.
        YAMLError: if it is not YAML.
    """
    counted = repeated = 0  # the values so far, and those of them that aliases repeat
    pending: list[tuple[str | None, int]] = []  # of each list and mapping that is not closed, its anchor and `counted` before it
    sizes: dict[str | None, int] = {}
    event: Any
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        wrong = ""
        if isinstance(event, yaml.AliasEvent):
            wrong = "" if event.anchor in sizes else f"the alias '*{event.anchor}' repeats nothing, or what it is inside of"
            counted += sizes.get(event.anchor, 0)
            repeated += sizes.get(event.anchor, 0)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = pending.pop()
            sizes |= {anchor: counted - before} if anchor else {}
        elif isinstance(event, yaml.NodeEvent):
            if isinstance(event, yaml.CollectionStartEvent):
                pending.append((event.anchor, counted))
            elif event.anchor:
                sizes[event.anchor] = 1
            counted += 1
        if len(pending) > MOST_DEPTH:
            wrong = f"more than {MOST_DEPTH} lists and mappings inside one another"
        if repeated > MOST_ALIASED:
            wrong = f"its aliases repeat more than {MOST_ALIASED} values"
        if wrong:
            raise InputError(where, f"line {event.start_mark.line + 1}: {wrong}", "write the file without")


def read_json(path: Path, shape: Any, remedy: str) -> Any:
    """The content of a JSON file; see `read_yaml`.

    Raises:
        InputError: naming the file and the item, if it is not JSON, is out of bounds, or is of another shape.
        FileNotFoundError: if it does not exist.
    """
    try:
        data = read_regular(path, MOST_JSON_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(path, f"cannot be read ({(error.strerror or '').lower()})", remedy) from None
    try:
        content = parse_json(data)
    except ValueError as error:
        raise InputError(path, f"is not valid JSON ({error})", remedy) from None
    return checked(path, content, shape, remedy)


def read_json_lines(path: Path, shape: Any, remedy: str) -> list[Any]:
    """The values of a file with JSON on every line.

    Raises:
        InputError: naming the file and the line; see `read_json`.
        FileNotFoundError: if it does not exist.
    """
    values = []
    for number, line in enumerate(read_regular(path, MOST_JSON_BYTES).splitlines(), start=1):
        try:
            value = parse_json(line)
        except ValueError as error:
            raise InputError(path, f"line {number} is not valid JSON ({error})", remedy) from None
        values.append(checked(path, value, shape, remedy, f"line {number}"))
    return values


def parse_json(data: bytes) -> Any:
    """The value of a JSON text in UTF-8, -16 or -32.

    Raises:
        ValueError: in one line, if it is not JSON, is too deep, or has a number of more than 4,300 digits.
    """
    deep = Depth()
    deep.look_at(data)
    try:
        return json.loads(data)
    except UnicodeDecodeError as error:
        raise ValueError(f"not in UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise ValueError(f"more than {MOST_DEPTH} lists and objects inside one another") from None


def checked(where: object, content: Any, shape: Any, remedy: str, item: str = "") -> Any:
    """The content of an item of a file itself, if it has that shape.

    Raises:
        InputError: naming the item, as in `boxes[3].id: expected `int`, got `str``.
    """
    try:
        msgspec.convert(content, shape)
    except (msgspec.ValidationError, OverflowError, RecursionError, UnicodeEncodeError) as error:
        what, _, place = str(error).partition(" - at `$")
        item = f"{item}{place.rstrip('`')}".removeprefix(".")
        raise InputError(where, f"{item}{': ' * bool(item)}{what[:1].lower()}{what[1:]}", remedy) from None
    return content


class Depth:
    """Counts how many lists and objects of a JSON text lie inside one another, without reading it in any other way."""

    def __init__(self) -> None:
        self._depth, self._in_string, self._rest = 0, False, b""

    def look_at(self, piece: bytes) -> None:
        """Look at the next piece of the text.

        Raises:
            ValueError: if it is too deep.
        """
        piece = self._rest + piece
        escapes = len(piece) - len(piece.rstrip(b"\\"))
        cut = len(piece) - escapes % 2
        piece, self._rest = piece[:cut], piece[cut:]
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = piece.split(b'"')
        outside = b"".join(parts[int(self._in_string) :: 2]).translate(_STEPS, _NO_BRACKETS)
        self._in_string ^= len(parts) % 2 == 0
        if outside:
            depths = self._depth + np.cumsum(np.frombuffer(outside, np.int8), dtype=np.int32)
            self._depth = int(depths[-1])
            if depths.max() > MOST_DEPTH:
                raise ValueError(f"more than {MOST_DEPTH} lists and objects inside one another")


class ShallowFile:
    """A JSON file that is read in pieces and refuses to go too deep, for readers that keep all that is open.

    Raises:
        ValueError: on reading, if it is too deep.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._deep = file, Depth()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._deep.look_at(piece)
        return piece
