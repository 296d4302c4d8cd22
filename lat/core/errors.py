"""The one exception for invalid user input (files, configuration, options), and remedies used in many places."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence


def printable(text: object) -> str:
    """A text from outside on one line; what a terminal would obey or cannot show is written as `\\x1b`, `\\n`, `\\ud800`.

    These are control characters, line separators, odd spaces, marks that turn the direction of text or show nothing, halves of
    characters, and what Unicode has no character for.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def is_encodable(text: str) -> bool:
    """False for a text with half a character, as JSON may have it, which no file name has and no terminal can show."""
    return text.isascii() or not any("\ud800" <= one <= "\udfff" for one in text)


class InputError(Exception):
    """A user's input or configuration is wrong: one line that names the file, the item and the remedy.

    The command line prints it as `error: FILE: what, which item, what to do` and exits with status 2.

    Attributes:
        where: the file or the setting that is wrong.
        what: what is wrong with it, naming the item.
        remedy: what to do about it; may be empty.
        details: single problems, where there are several; `str()` puts each on a line of its own below the first, and shows
            every part of the message as `printable` does.
    """

    def __init__(self, where: object, what: str, remedy: str = "", details: tuple[str, ...] = ()) -> None:
        self.where = str(where)
        self.what = what
        self.remedy = remedy
        self.details = details
        line = ": ".join(part for part in (self.where, what) if part) + (f"; {remedy}" if remedy else "")
        super().__init__("\n  ".join(map(printable, (line, *details))))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str, tuple[str, ...]]]:
        """Support pickling, to pass the error between processes."""
        return type(self), (self.where, self.what, self.remedy, self.details)


def looked_for(path: object) -> str:
    """What a message about a missing file adds to a relative path: where it was looked for; else ""."""
    text = str(path)
    return "" if os.path.isabs(text) or "://" in text else f" (looked for {os.path.abspath(text)})"


def did_you_mean(name: object, known: Sequence[str]) -> str:
    """The remedy for an unknown name: the nearest known one, or all of them if none is near."""
    nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"did you mean '{nearest[0]}'?" if nearest else f"known here: {', '.join(known)}"


def invalid_yaml(path: object, error: Exception) -> InputError:
    """The error for a file that is not valid YAML; names the line if the parser knows it."""
    mark = getattr(error, "problem_mark", None)
    line = f" (line {mark.line + 1})" if mark else ""
    return InputError(path, f"is not valid YAML{line}", "correct the file")
