"""Write files whole or not at all, and hash files and values."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lat.core.errors import InputError
from lat.core.remote import open_file

OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)
"""The numbers of errors that only files have."""

_REMEDIES = {
    errno.ENOSPC: "free some of the disk, or write elsewhere",
    errno.EDQUOT: "free some of the disk, or write elsewhere",
    errno.EROFS: "write elsewhere",
    errno.EACCES: "correct its permissions, or choose another path",
    errno.EPERM: "correct its permissions, or choose another path",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ENOTDIR: "a file is where a folder should be: move it, or choose another path",
    errno.EEXIST: "a file is where a folder should be: move it, or choose another path",
    errno.EISDIR: "a folder is where a file should be: move it, or choose another path",
}
_PART = ".tmp"  # the end of the name of a file that is not yet whole
_TEMPORARY = re.compile(rf"\..+\.[a-z0-9_]{{8}}{re.escape(_PART)}")
_CHECK_IT = "check the path, its permissions and the disk"


def refused(error: OSError | ValueError, path: Path | str = "") -> InputError:
    """What the system refuses, as one line: the file, the reason and a remedy.

    Args:
        error: what it raised; a `ValueError` is about the name itself, as for one with a NUL character.
        path: the file, where the error does not name it.
    """
    where = getattr(error, "filename", None) or path
    if not isinstance(error, OSError):
        return InputError(where, f"is no name of a file ({error})", "choose another path")
    reason = (error.strerror or type(error).__name__).lower()
    return InputError(where, f"cannot be read or written ({reason})", _REMEDIES.get(error.errno or 0, _CHECK_IT))


def is_of_files(error: OSError | ValueError) -> bool:
    """True if a file, or standard output, is what the system refused, and not a connection or a device."""
    if isinstance(error, OSError):
        return error.filename is not None or error.errno in OF_DISKS
    return isinstance(error, UnicodeEncodeError)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system refuses while a file or a folder is written into an `InputError` that names it.

    Raises:
        InputError: see `refused`.
    """
    try:
        yield
    except OSError as error:
        named = error.filename
        is_own = named is None or str(named).endswith(_PART) or Path(os.fsdecode(named)) in (path, *path.parents)
        raise refused(OSError(error.errno, error.strerror or str(error), str(path if is_own else named))) from error
    except ValueError as error:
        if not _is_about_name(error):
            raise
        raise refused(error, path) from error


def _is_about_name(error: ValueError) -> bool:
    """True for a name that the system's encoding lacks, or one with a NUL character."""
    return isinstance(error, UnicodeEncodeError) or "null" in str(error)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file through `open_atomically`. Text is written as UTF-8 with its line endings unchanged.

    Raises:
        InputError: see `open_atomically`.
    """
    with open_atomically(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing so that a reader, or a run killed at any moment, sees the old content or the new one, never a part.

    The content goes to a temporary name in the same folder, is flushed to the disk, and is renamed when the block ends. Missing
    parent folders are created. What a killed process leaves under a temporary name, `remove_leftovers` removes.

    Raises:
        InputError: if the file cannot be written; then, as after any exception in the block, the old file is untouched and no
            temporary file is left.
    """
    path = Path(path)
    with writing(path), _open_atomically(path) as file:
        yield file


@contextmanager
def _open_atomically(path: Path) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _make_temporary(path)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.fsync(file.fileno())
            os.replace(temporary, path)  # before it is closed, which unlocks it
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _make_temporary(path: Path) -> tuple[int, str]:
    """Make a file beside `path`, locked as long as it is open where the file system can do that: its descriptor and its name."""
    while True:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PART, dir=path.parent)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, temporary
        os.close(handle)  # taken for a leftover before it was locked


def remove_leftovers(folder: Path, below: Collection[str]) -> None:
    """Remove what killed processes have left half-written in a folder and some of its folders; what is being written stays."""
    for root, folders, names in os.walk(folder):
        if root == str(folder):
            folders[:] = [name for name in folders if name in below]
        for name in filter(_TEMPORARY.fullmatch, names):
            path = Path(root, name)
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def _umask() -> int:
    """The process's file mode mask, which `mkstemp` does not apply."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power failure, if the system allows opening folders."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits; a remote one is fetched."""
    with open_file(Path(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_json(value: object) -> str:
    """SHA-256 of a value of JSON types, independent of the order of dictionary keys.

    Raises:
        ValueError: if the value contains NaN or infinity.
        TypeError: if the value contains anything that JSON has no type for.
    """
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
