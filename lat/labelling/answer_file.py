"""The file of answers as `lat ask` writes it: what was said, and as comments what is still asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lat.core.documents import read_yaml
from lat.core.errors import printable
from lat.core.files import write_atomically
from lat.core.label_space import LabelSpace
from lat.labelling.answers import Answers, read_answers
from lat.labelling.questions import Question

HEADER = """\
# What classes are in other class lists, as someone who knows both protocols says; a run takes this file as `answers`.
# [rider, bicycle]: all that it can be, even if seldom. []: none of them. {car: 0.8, truck: 0.2}: shares that are known.
"""
HOW = "# To answer, remove the # before a line and leave in it what the class can be; [] if it is none of them.\n"

Said = dict[str, dict[str, dict[str, Any]]]
"""By source, target and source class, what a person has said: classes, or shares by class."""


class AnswerFile:
    """What has been said in a file, which need not exist yet.

    Args:
        path: the file.
        spaces: label spaces of all datasets of the run by name.

    Raises:
        InputError: if there is such a file, and it is wrong; see `read_answers`.
    """

    def __init__(self, path: Path, spaces: Mapping[str, LabelSpace]) -> None:
        self.path, self.spaces = path, spaces
        self.answers: dict[tuple[str, str], Answers] = {}
        self.said: Said = {}
        if path.is_file():
            self.answers = read_answers(path, spaces)
            self.said = _filled(read_yaml(path, Any))

    def add(self, question: Question, classes: Sequence[str]) -> None:
        """Write the answer to a question: all classes that it can be.

        Raises:
            InputError: if it contradicts an earlier answer; then the file is as before.
        """
        said = {s: {t: dict(of_pair) for t, of_pair in parts.items()} for s, parts in self.said.items()}
        said.setdefault(question.source, {}).setdefault(question.target, {})[question.source_class] = list(classes)
        before = self.path.read_bytes() if self.path.is_file() else None
        write_atomically(self.path, _text(said, {}))
        try:
            self.answers = read_answers(self.path, self.spaces)
        except Exception:
            self.path.unlink() if before is None else write_atomically(self.path, before)
            raise
        self.said = said

    def ask(self, questions: Sequence[Question], pictures: Mapping[Question, Path]) -> None:
        """Write the file with these questions as comments beside what has been said."""
        lines: dict[tuple[str, str], list[str]] = {}
        for one in questions:
            likely = [name for name, _, _ in one.choices[: one.likely]]
            comment = f"{one.boxes:,} boxes of {one.source_class}"
            comment += f"; {pictures[one]}" if one in pictures else ""
            lines.setdefault((one.source, one.target), []).extend(
                [f"# {printable(comment)}", f"# {_entry(one.source_class, likely)}"]
            )
        write_atomically(self.path, _text(self.said, lines))


def _filled(content: Any) -> Said:
    """The content of a sound file without what is empty."""
    found: Said = {}
    for source, parts in (content or {}).items():
        for target, classes in (parts or {}).items():
            found.setdefault(str(source), {})[str(target)] = {str(name): value for name, value in (classes or {}).items()}
    return found


def _text(said: Said, asked: Mapping[tuple[str, str], Sequence[str]]) -> str:
    return HEADER + (HOW if asked else "") + "".join(f"{line}\n" for line in _lines(said, asked))


def _lines(said: Said, asked: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[str]:
    sources = dict.fromkeys([*said, *(source for source, _ in asked)])
    for source in sources:
        yield f"{_flow(source)}:"
        for target in dict.fromkeys([*said.get(source, {}), *(two for one, two in asked if one == source)]):
            yield f"  {_flow(target)}:"
            for name, value in said.get(source, {}).get(target, {}).items():
                yield f"    {_entry(name, value)}"
            yield from (f"    {line}" for line in asked.get((source, target), ()))


def _entry(name: str, value: Any) -> str:
    """An entry of a mapping as YAML on one line."""
    return f"{_flow(name)}: {_flow(value)}"


def _flow(value: Any) -> str:
    """A value as YAML on one line, inside or outside of brackets."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(name)}: {_flow(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    is_odd = isinstance(value, str) and value != printable(value)
    text = yaml.safe_dump(
        [value], default_flow_style=True, width=float("inf"), allow_unicode=not is_odd, default_style='"' if is_odd else None
    )
    return str(text).strip()[1:-1]
