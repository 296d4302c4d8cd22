"""`manifest.json` of a folder of parts: what they are made from, and the COCO file that was written from them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from lat.core.files import sha256_of_file

_VERSION = 1


@dataclass(frozen=True)
class ExportedFile:
    """The COCO file that was written from the parts.

    Attributes:
        sha256: its hash.
        size: in bytes; with the time, recognises it without reading it.
        mtime_ns: when it was written.
        info: what its `info` says.
        checksums: CRC-32 of each part that it was written from: pages of Parquet have their own, what describes them has none.
    """

    sha256: str
    size: int
    mtime_ns: int
    info: dict[str, Any]
    checksums: list[int] = field(default_factory=list)

    def is_at(self, path: Path) -> bool:
        """Whether this file, unchanged, lies at `path`; it is hashed only if its time is another one."""
        try:
            found = path.stat()
        except OSError:
            return False
        if found.st_size != self.size:
            return False
        return found.st_mtime_ns == self.mtime_ns or _sha256_at(path, found.st_size, found.st_mtime_ns) == self.sha256


@dataclass(frozen=True)
class Manifest:
    """What lies in a folder of parts.

    Attributes:
        inputs: hash of all that the parts are computed from.
        images: SHA-256 of the list of images.
        space: the label space.
        parts: first image of each part and the one after its last.
        file: the COCO file written from them; None before.
        version: of the format.
    """

    inputs: str
    images: str
    space: dict[str, Any]
    parts: list[list[int]]
    file: ExportedFile | None = None
    version: int = _VERSION

    @classmethod
    def read(cls, path: Path) -> Manifest | None:
        """The manifest in a file; None if there is none, or none of this version."""
        try:
            content = json.loads(path.read_bytes())
            file = content.pop("file")
            manifest = cls(**content, file=file and ExportedFile(**file))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return manifest if manifest.version == _VERSION else None


@lru_cache(maxsize=1024)
def _sha256_at(path: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file as it was at this time: the copies of a run's folder at a URL have times of their own."""
    return sha256_of_file(path)
