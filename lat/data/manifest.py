"""A manifest of a labels file's images: what each image file was when it was read, so that nobody reads it again to know.

It lies beside the labels file as `STEM.manifest.parquet`. An entry counts as long as the file has the size and modification time
that stand there; a manifest that was written for another folder counts for nothing.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lat.core.errors import InputError
from lat.core.file_cache import Stamp
from lat.core.files import sha256_of_file, write_atomically
from lat.core.remote import is_remote, name_of, read_bytes, stamp_of, upload

_VERSION = b"1"
_UNKNOWN_HW = (0, 0)

READERS = 16
"""Threads that read images; most of them wait for a disk or a server."""

_IMAGES_AT_ONCE = 256


class Entry(NamedTuple):
    """One image file.

    Attributes:
        stamp: size in bytes, and modification time, as `stamp_of` tells them.
        sha256: of the content, as 64 hexadecimal digits.
        size_hw: height and width of the decoded image, upright; (0, 0) if nobody has decoded it.
    """

    stamp: Stamp
    sha256: str
    size_hw: tuple[int, int] = _UNKNOWN_HW


@dataclass(frozen=True)
class Manifest:
    """The entries of a labels file's images, by file name."""

    entries: Mapping[str, Entry] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entries)

    def of(self, name: str, stamp: Stamp | None) -> Entry | None:
        """The entry of an image file that has this stamp now; None if there is none, or the file has changed."""
        entry = self.entries.get(name)
        return entry if entry is not None and entry.stamp == stamp else None


def manifest_path(labels: Path) -> Path:
    """Where the manifest of a labels file lies."""
    return labels.with_name(f"{labels.stem}.manifest.parquet")


def read_manifest(labels: Path, images: Path) -> Manifest:
    """Read the manifest of a labels file; an empty one if there is none, it is damaged, or it was written for another folder.

    Args:
        labels: the labels file.
        images: the folder of its images.
    """
    path = manifest_path(labels)
    if stamp_of(path) is None:
        return Manifest()
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        table = pq.ParquetFile(io.BytesIO(read_bytes(path, renew=True))).read()
        said = table.schema.metadata or {}
        if (said.get(b"version"), said.get(b"images")) != (_VERSION, _folder_from(labels, images).encode()):
            return Manifest()
        names, hashes = (table[key].to_pylist() for key in ("file_name", "sha256"))
        sizes, times, heights, widths = (table[key].to_pylist() for key in ("size", "mtime_ns", "height", "width"))
    except (ArrowException, KeyError, OSError, ValueError):
        return Manifest()
    stamps = map(Stamp, sizes, times)
    entries = map(Entry, stamps, map(bytes.hex, hashes), zip(heights, widths, strict=True))
    return Manifest(dict(zip(names, entries, strict=True)))


def hashed_entries(images: Path, names: Sequence[str]) -> Iterator[tuple[str, Entry]]:
    """Read image files of a folder, several at a time, and yield each name with its entry; none is decoded.

    Raises:
        InputError: if a file is not there.
        OSError: if one cannot be read.
    """

    def entry_of(name: str) -> Entry:
        stamp = stamp_of(images / name)
        if stamp is None:
            raise InputError(name_of(images / name), "no such image file", "start again")
        return Entry(stamp, sha256_of_file(images / name))

    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(names), _IMAGES_AT_ONCE):
            chunk = names[start : start + _IMAGES_AT_ONCE]
            yield from zip(chunk, pool.map(entry_of, chunk), strict=True)


def write_manifest(labels: Path, images: Path, entries: Iterable[tuple[str, Entry]]) -> Path:
    """Write the manifest of a labels file, whole or not at all; returns its path.

    Args:
        labels: the labels file.
        images: the folder of its images.
        entries: file names relative to that folder, each with its entry.

    Raises:
        InputError: if it cannot be written there.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = list(entries)
    columns = {
        "file_name": pa.array([name for name, _ in rows], pa.string()),
        "size": pa.array([one.stamp.size for _, one in rows], pa.int64()),
        "mtime_ns": pa.array([one.stamp.mtime_ns for _, one in rows], pa.int64()),
        "sha256": pa.array([bytes.fromhex(one.sha256) for _, one in rows], pa.binary(32)),
        "height": pa.array([one.size_hw[0] for _, one in rows], pa.int32()),
        "width": pa.array([one.size_hw[1] for _, one in rows], pa.int32()),
    }
    said = {b"version": _VERSION, b"images": _folder_from(labels, images).encode()}
    file = io.BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata(said), file)
    path = manifest_path(labels)
    if is_remote(path):
        upload(path, file.getvalue())
        return path
    write_atomically(path, file.getvalue())
    return path


def changes(changed: int, total: int) -> str:
    """How many images are not as the manifest has them, in words."""
    return f"images: {changed:,} of {total:,} changed since the manifest"


def _folder_from(labels: Path, images: Path) -> str:
    """The images folder as seen from that of the labels, so that both can move together; a URL if either is remote."""
    if is_remote(labels) != is_remote(images):
        return name_of(images) if is_remote(images) else os.path.realpath(images)
    here = labels.parent if is_remote(labels) else Path(os.path.realpath(labels.parent))
    return os.path.relpath(images if is_remote(images) else os.path.realpath(images), here)
