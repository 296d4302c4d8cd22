"""Copies of remote files on this machine, bounded in size: the least recently used go first.

Any number of processes may share the cache. A file appears under its name when it is whole; one that goes while a process reads
it stays readable for that process, as any removed file does.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lat.core.errors import InputError

FOLDER, SIZE = "LAT_CACHE", "LAT_CACHE_GB"
"""Environment variables: where the cache lies, and its bound in GB (10^9 bytes)."""

DEFAULT_GB = 50.0
_FILLED_AGAIN = 0.9  # of the bound, after files were removed, so that they are not looked through for each new file
_STALE_SECONDS = 24 * 3600.0  # the age at which a half-fetched file belongs to a process that is gone


class Stamp(NamedTuple):
    """What tells one content of a file from another without reading it: bytes, and the modification time in nanoseconds."""

    size: int
    mtime_ns: int


def cache_folder() -> Path:
    """`$LAT_CACHE`, or `lat` in the user's folder of caches; links are followed."""
    chosen = os.environ.get(FOLDER) or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "lat")
    return _resolved(os.path.expanduser(chosen))


def copies_folder() -> Path:
    """The folder of the copies themselves."""
    return _copies_of(cache_folder())


@cache
def _resolved(folder: str) -> Path:
    """The folder with links followed: looked up once, for every path of an image is compared with it."""
    return Path(os.path.realpath(folder))


@cache
def _copies_of(folder: Path) -> Path:
    return folder / "files"


def bound_bytes() -> int:
    """The bound of the cache in bytes.

    Raises:
        InputError: if `$LAT_CACHE_GB` is no positive number.
    """
    text = os.environ.get(SIZE) or str(DEFAULT_GB)
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0.0 < size < float("inf"):
        raise InputError(SIZE, f"is {text!r}", "give the bound of the cache in GB, such as 200")
    return round(size * 1e9)


def use(path: Path) -> Stamp | None:
    """Note that a copy is used now, and return its stamp; None if there is none."""
    try:
        status = path.stat()
        os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


def add(path: Path, mtime_ns: int, fetch: Callable[[str], None]) -> Stamp:
    """Put a file into the cache, replacing an old copy, and remove the least recently used ones if there is no room.

    Args:
        path: its name in `copies_folder`.
        mtime_ns: the modification time that the copy gets.
        fetch: writes the file under the name that it is given.

    Raises:
        InputError: if the cache cannot be written.
    """
    bound = bound_bytes()
    partial = cache_folder() / "partial"
    try:
        partial.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=partial)
        os.close(handle)
    except OSError as error:
        raise _unwritable(error) from None
    try:
        fetch(temporary)
        size = os.stat(temporary).st_size
        with _locked() as total:
            os.utime(temporary, ns=(time.time_ns(), mtime_ns))  # from here on it looks old, but nobody else removes what is old
            before = path.stat().st_size if path.is_file() else 0
            os.replace(temporary, path)
            total.grow(size - before, bound, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return Stamp(size, mtime_ns)


class _Total:
    """The bytes of all copies, kept in a file beside them; counted anew when the bound is passed, or if the file is damaged."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def grow(self, added: int, bound: int, newest: Path) -> None:
        """Count `added` more bytes; if they are too many, remove copies, but never the newest."""
        try:
            total = int(self._file.read_text("ascii")) + added
        except (OSError, ValueError):
            total = sum(size for _, size, _ in _copies())
        if total > bound:
            total = _remove_oldest(round(bound * _FILLED_AGAIN), newest)
        self._file.write_text(str(total), "ascii")


@contextmanager
def _locked() -> Iterator[_Total]:
    """Keep all other processes from counting and removing while this context is open."""
    with (cache_folder() / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield _Total(cache_folder() / "bytes")


def _remove_oldest(wanted: int, newest: Path) -> int:
    """Remove copies, the least recently used first, until `wanted` bytes or fewer are left; returns the bytes that are left."""
    copies = sorted(_copies())
    total = sum(size for _, size, _ in copies)
    for _, size, name in copies:
        if total <= wanted:
            break
        if name != str(newest):
            Path(name).unlink(missing_ok=True)
            total -= size
    _remove_stale()
    return total


def _copies() -> Iterator[tuple[int, int, str]]:
    """Time of last use, bytes and name of every copy."""
    for folder, _, names in os.walk(copies_folder()):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
            except FileNotFoundError:  # removed by hand
                continue
            yield status.st_atime_ns, status.st_size, path


def _remove_stale() -> None:
    """Remove what processes that were killed have left half-fetched."""
    for path in (cache_folder() / "partial").iterdir():
        try:
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()
        except FileNotFoundError:  # whole by now
            continue


def _unwritable(error: OSError) -> InputError:
    remedy = f"name a folder with {FOLDER} that can be written and has room"
    return InputError(cache_folder(), f"remote files cannot be kept here ({error.strerror})", remedy)
