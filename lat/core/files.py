"""Write files whole or not at all, and hash files and values."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lat.core.remote import open_file


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file through `open_atomically`. Text is written as UTF-8 with its line endings unchanged.

    Raises:
        OSError: see `open_atomically`.
    """
    with open_atomically(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing so that a reader, or a run killed at any moment, sees the old content or the new one, never a part.

    The content goes to a temporary name in the same folder, is flushed to the disk, and is renamed when the block ends. Missing
    parent folders are created.

    Raises:
        OSError: if the folder cannot be written; then, as after any exception in the block, the old file is untouched and no
            temporary file is left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


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
