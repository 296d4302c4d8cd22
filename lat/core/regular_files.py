"""Open only what is a regular file: never a FIFO, which waits for a writer, nor a device, which may have no end."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, TypeVar

from lat.core.errors import InputError

_KINDS = ((stat.S_ISFIFO, "FIFO"), (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "device"), (stat.S_ISBLK, "device"))


Result = TypeVar("Result")


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file on this machine for reading; links are followed. Errors while it is read name it, too.

    Raises:
        InputError: if it is something else that could be read, or the path is no name of a file.
        OSError: if it does not exist, is a folder, or may not be read.
    """
    try:
        raw: Any = _NamedFile(path, "rb", opener=_without_waiting)
        file: BufferedReader = BufferedReader(raw)
    except ValueError as error:
        raise InputError(path, f"is no name of a file ({error})", "choose another path") from None
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISREG(mode):
        return file
    file.close()
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "special file")
    raise InputError(path, f"is a {kind}, not a file", "name a file")


class _NamedFile(FileIO):
    """A file whose errors say which it is."""

    def readinto(self, buffer: Any) -> Any:
        return self._named(super().readinto, buffer)

    def readall(self) -> bytes:
        return self._named(super().readall)

    def _named(self, function: Callable[..., Result], *arguments: Any) -> Result:
        try:
            return function(*arguments)
        except OSError as error:
            raise OSError(error.errno, error.strerror, os.fsdecode(self.name)) from error


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


def read_regular(path: Path, most_bytes: int) -> bytes:
    """The content of a regular file.

    Args:
        path: the file.
        most_bytes: a larger file is refused before anything of it is read.

    Raises:
        InputError: as for `open_regular`, or if the file is larger.
        OSError: as for `open_regular`.
    """
    with open_regular(path) as file:
        require_size(path, os.fstat(file.fileno()).st_size, most_bytes)
        content = file.read(most_bytes + 1)
    require_size(path, len(content), most_bytes)  # one that grows meanwhile, or tells no size, as those below /proc
    return content


def require_size(path: Path, size: int, most_bytes: int, item: str = "") -> None:
    """Check the size of a file, or of an item in it, in bytes.

    Raises:
        InputError: if it is too large.
    """
    if size > most_bytes:
        what = f"{item or 'the file'} has {size / 1e6:.1f} MB or more, the most is {most_bytes / 1e6:g} MB"
        raise InputError(path, what, "check that it is the right file")
