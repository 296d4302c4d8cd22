"""The one exception for mistakes in what a user brings (files, configuration, options)."""

from __future__ import annotations


class InputError(Exception):
    """A user's input or configuration is wrong: one line that names the file, the item and the remedy.

    The command line prints it as `error: FILE: what, which item, what to do` and exits with status 2.

    Attributes:
        where: the file or the setting that is wrong.
        what: what is wrong with it, naming the item.
        remedy: what to do about it; may be empty.
        details: single problems, where there are several; `str()` puts them one a line below the first.
    """

    def __init__(self, where: object, what: str, remedy: str = "", details: tuple[str, ...] = ()) -> None:
        self.where = str(where)
        self.what = what
        self.remedy = remedy
        self.details = details
        line = ": ".join(part for part in (self.where, what) if part) + (f"; {remedy}" if remedy else "")
        super().__init__("\n  ".join((line, *details)))
