"""Files with one thing wrong, made from legal ones: JSON, XML, YAML, and text in lines (CSV, label files)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("LAT_EXAMPLES", "100"))
"""Mutations per format; `LAT_EXAMPLES=1000 pytest tests/trust/test_mutated_files.py` looks further."""


def examples(share: float = 1.0) -> settings:
    """Settings of a test with a share of `EXAMPLES`: the same examples each time, unless more than usual are asked for."""
    return settings(
        max_examples=max(1, round(EXAMPLES * share)),
        deadline=None,
        derandomize="LAT_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Mutant:
    """A file with one thing wrong.

    Attributes:
        data: its bytes.
        what: was done to it.
        says_the_same: whether a reader that takes it must read what the legal file says, as for a file that is cut.
    """

    data: bytes
    what: str
    says_the_same: bool = False

    def __repr__(self) -> str:
        return f"{self.what}: {self.data[:2000]!r}"


Mutants = st.SearchStrategy[Mutant]
_DEEP = {"json": b"[" * 70 + b"]" * 70, "xml": b"<a>" * 3000 + b"</a>" * 3000, "text": b"[" * 3000, "yaml": b"- " * 3000}
_BYTES = [
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\x00",
    b"\x1b",
    b"\r",
    b"\xe2\x80\xae",
    b"\xe2\x80\xa8",
    b'"',
    b"<",
    b"{",
    b",",
    b" ",
]


def mutants(data: bytes, form: str) -> Mutants:
    """Files made from `data`, which is legal and of the form "json", "xml", "yaml" or "text"."""
    structure: dict[str, Callable[[bytes], Mutants]] = {"json": _json, "xml": _xml, "yaml": _yaml, "text": _text}
    return st.one_of(structure[form](data), structure[form](data), _broken(data, form))


def damaged(data: bytes) -> Mutants:
    """Files made from bytes of any form: cut, or with other bytes somewhere."""
    return st.one_of(_cut(data, False), _other_bytes(data), _piece(data))


def _broken(data: bytes, form: str) -> Mutants:
    ends = st.sampled_from(
        [
            Mutant(b"\xef\xbb\xbf" + data, "a byte order mark", True),
            Mutant(data.decode().encode("utf-16"), "UTF-16", True),
            Mutant(data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), "line ends of Windows", True),
            Mutant(data.rstrip() + b"\n\n \n", "blank lines at the end", True),
            Mutant(data + b"\x00", "a NUL at the end"),
            Mutant(data + _DEEP[form], "depth at the end"),
            Mutant(_DEEP[form] + data, "depth at the start"),
            Mutant(b"", "nothing"),
            Mutant(b"\n", "an empty line"),
        ]
    )
    return st.one_of(ends, _cut(data, form in ("json", "xml")), _other_bytes(data), _piece(data))


def _cut(data: bytes, says_the_same: bool) -> Mutants:
    return st.integers(0, len(data) - 1).map(lambda end: Mutant(data[:end], f"cut at byte {end}", says_the_same))


def _other_bytes(data: bytes) -> Mutants:
    def put(place: int, new: bytes, over: bool) -> Mutant:
        return Mutant(data[:place] + new + data[place + (len(new) if over else 0) :], f"{new!r} at byte {place}")

    new = st.sampled_from(_BYTES) | st.binary(min_size=1, max_size=3)
    return st.builds(put, st.integers(0, len(data) - 1), new, st.booleans())


def _piece(data: bytes) -> Mutants:
    def change(first: int, length: int, times: int) -> Mutant:
        piece = data[first : first + length]
        return Mutant(
            data[:first] + piece * times + data[first + length :], f"{length} bytes from {first} are there {times} times"
        )

    return st.builds(change, st.integers(0, len(data) - 1), st.integers(1, 40), st.sampled_from([0, 2]))


_HERE = "@here@"
_JSON_VALUES = [
    *(b"null", b"true", b"false", b'""', b'"x"', b'"1"', b'"\\ud800"', b'"a\\u0000b"', b'"\\u001b[31m"', b'"../../x"', b'"."'),
    *(b"0", b"-0.0", b"1", b"-1", b"1.0", b"1.5", b"1e-9", b"1e30", b"1e400", b"-1e400", b"NaN", b"Infinity", b"-Infinity"),
    *(str(2**31).encode(), str(2**63).encode(), str(10**30).encode(), b"1" * 400, b"1" * 5000, b"01", b"1.", b"+1"),
    *(b"[]", b"{}", b"[null]", b'{"a": null}', b"[[1, 2], [3]]", b'[1, "2", null, {}]', _DEEP["json"], b"[" * 3000),
    *(b'"\xff"', b'"\n"', b"'x'", b"", b'"' + b"n" * 5000 + b'"'),
]


def _json(data: bytes) -> Mutants:
    @st.composite
    def mutant(draw: st.DrawFn) -> Mutant:
        document = json.loads(data)
        places: list[Any] = [document]
        for place in places:
            children = place.values() if isinstance(place, dict) else place
            places += [child for child in children if isinstance(child, dict | list) and child]
        place = draw(st.sampled_from(places))
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        change = draw(st.sampled_from(["put", "put", "drop", "repeat", "another", "twice", "unknown"]))
        raw, same = b"", False
        if change == "put":
            raw, place[key] = draw(st.sampled_from(_JSON_VALUES)), _HERE
        elif change == "drop":
            del place[key]
        elif change == "repeat" and isinstance(place, list):
            place.insert(key, deepcopy(place[key]))
        elif change == "another":
            place[key] = deepcopy(draw(st.sampled_from(places)))
        elif isinstance(place, dict) and change == "twice":
            second, same = draw(st.sampled_from([(b"", True), (draw(st.sampled_from(_JSON_VALUES)), False)]))
            first = json.dumps(place[key]).encode()
            raw, place[key] = first + b", " + json.dumps(key).encode() + b": " + (first if same else second), _HERE
        elif isinstance(place, dict):
            raw, place["unknown"] = draw(st.sampled_from([_DEEP["json"], b"1e400", b"NaN", b'"\\ud800"', b'"\xff"'])), _HERE
            same = True
        text = json.dumps(document, indent=draw(st.sampled_from([None, 1]))).encode()
        return Mutant(text.replace(json.dumps(_HERE).encode(), raw, 1), f"{change} {key}", same)

    return mutant()


_WORDS = [
    *(
        "",
        "x",
        "0",
        "-1",
        "1.5",
        "1e-9",
        "1e308",
        "1e400",
        "nan",
        "-inf",
        "1_0",
        "١",
        "0x10",
        "1" * 400,
        "1" * 5000,
        "true",
        "null",
    ),
    *(
        "../../x",
        ".",
        "/",
        "a\0b",
        "a\x1bb",
        "n" * 5000,
        "\u202e",
        "é",
        "\ufeff",
        "'",
        '"',
        "[",
        "{",
        "&a [*a]",
        "*a",
        "!!python/x y",
    ),
    *("- x", "x: y", "#", ",", ",,", "\n", "2020-99-99", "2**31"),
]
_LAUGHS = b"".join(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10 if i else b"ha") for i in range(12))


_RAW_XML = {"bomb": b"&a11;", "outside": b"&o;", "depth": _DEEP["xml"]}
_ENTITIES = {"bomb": _LAUGHS, "outside": b'<!ENTITY o SYSTEM "file:///etc/passwd">'}


def _xml(data: bytes) -> Mutants:
    @st.composite
    def mutant(draw: st.DrawFn) -> Mutant:
        root = ElementTree.fromstring(data)
        parents = {child: parent for parent in root.iter() for child in parent}
        element = draw(st.sampled_from(list(parents)))
        change = draw(st.sampled_from(["text", "attribute", "no attribute", "drop", "repeat", "move", "tag", *_RAW_XML]))
        key = draw(st.sampled_from(sorted(element.attrib) or [""]))
        if change == "text":
            element.text = draw(st.sampled_from(_WORDS))
        elif change == "attribute":
            element.set(key or "x", draw(st.sampled_from(_WORDS)))
        elif change == "no attribute":
            element.attrib.pop(key, None)
        elif change == "repeat":
            parents[element].append(deepcopy(element))
        elif change in ("drop", "move"):
            parents[element].remove(element)
            root.extend([element] * (change == "move"))
        elif change == "tag":
            element.tag = draw(st.sampled_from(["x", "box", "object", "size", "name", "image", "bndbox", "track"]))
        else:
            element.text = _HERE
        text = ElementTree.tostring(root, encoding="utf-8").replace(_HERE.encode(), _RAW_XML.get(change, b""))
        place = text.index(b"<" + root.tag.encode())
        entities = b"<!DOCTYPE x [" + _ENTITIES.get(change, b"") + b"]>"
        return Mutant(text[:place] + entities + text[place:], f"{change} {element.tag}")

    return mutant()


def _yaml(data: bytes) -> Mutants:
    """As text in lines, and with the content written as JSON, which is YAML, too."""
    return _text(data) | _json(json.dumps(yaml.safe_load(data), ensure_ascii=False).encode())


def _text(data: bytes) -> Mutants:
    @st.composite
    def mutant(draw: st.DrawFn) -> Mutant:
        lines = data.decode().split("\n")
        place = draw(st.sampled_from([i for i, line in enumerate(lines) if line.strip()]))
        change = draw(st.sampled_from(["word", "word", "drop word", "drop", "repeat", "swap", "insert"]))
        parts = re.split(r"([\s,:\[\]{}]+)", lines[place])
        word = draw(st.sampled_from([i for i, part in enumerate(parts) if part.strip()]))
        if change == "word":
            parts[word] = draw(st.sampled_from(_WORDS))
        elif change == "drop word":
            del parts[word : word + 2]
        lines[place] = "".join(parts)
        if change == "drop":
            del lines[place]
        elif change in ("repeat", "insert"):
            lines.insert(place, lines[place] if change == "repeat" else draw(st.sampled_from(_WORDS)))
        elif change == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[place], lines[other] = lines[other], lines[place]
        return Mutant("\n".join(lines).encode(), f"{change} in line {place + 1}")

    return mutant()
