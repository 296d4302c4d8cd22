"""The files of a feature cache: which maps each contains, and which are no longer used."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lat.core.remote import is_remote, name_of, stamp_of

IMAGES_PER_SHARD = 8
_OURS = re.compile(r"[0-9a-f]{16}/([0-9a-f]{32}\.npy|\..*\.part)")


class ImageFiles(Protocol):
    """The image files of one dataset."""

    def __len__(self) -> int: ...

    def size_hw(self, index: int) -> tuple[int, int]:
        """(height, width) of an image in pixels, without decoding it."""
        ...

    def image_path(self, index: int) -> Path:
        """The image file; asked for by the disk cache alone."""
        ...


@dataclass(frozen=True)
class Shard:
    """Images of one dataset and one size whose maps are computed, kept and written together."""

    dataset: str
    size_hw: tuple[int, int]
    indices: tuple[int, ...]


def plan_shards(dataset: str, source: ImageFiles) -> list[Shard]:
    """The images of a dataset in shards, size by size."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for index in range(len(source)):
        height, width = source.size_hw(index)
        by_size.setdefault((int(height), int(width)), []).append(index)
    return [
        Shard(dataset, size_hw, tuple(indices[start : start + IMAGES_PER_SHARD]))
        for size_hw, indices in by_size.items()
        for start in range(0, len(indices), IMAGES_PER_SHARD)
    ]


def numbers_in(shards: Sequence[Shard], sources: Mapping[str, ImageFiles]) -> dict[str, np.ndarray]:
    """The number (I,) int64 of each image of each dataset: `IMAGES_PER_SHARD` for each shard before its own, and its row."""
    numbers = {name: np.zeros(len(source), np.int64) for name, source in sources.items()}
    for place, shard in enumerate(shards):
        numbers[shard.dataset][list(shard.indices)] = place * IMAGES_PER_SHARD + np.arange(len(shard.indices))
    return numbers


def file_identity(path: Path, folder: Path) -> str:
    """Path from a folder, size and modification time of a file: changes when the file is written again, or is another one."""
    stamp = stamp_of(path)
    if stamp is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name_of(path))
    where = name_of(path) if is_remote(path) else os.path.relpath(path, folder)
    return f"{where} {stamp.size} {stamp.mtime_ns}"


def backbone_folder(folder: Path, fingerprint: str) -> Path:
    """Where a cache in `folder` keeps the maps of a backbone, by the fingerprint of its weights."""
    return folder / fingerprint[:16]


def file_name(shard: Shard, source: ImageFiles, folder: Path, flip: bool, dtype: str) -> str:
    """The name of the file of a shard: a hash of dataset, size, image files, flip and number format.

    Image files are told apart by their path from the cache's folder, so a run that moves with its data keeps its features.

    Raises:
        OSError: if an image file is not there.
    """
    images = [file_identity(source.image_path(index), folder) for index in shard.indices]
    key = json.dumps([shard.dataset, shard.size_hw, images, flip, dtype])
    return f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"


def files_in_use(folder: Path, fingerprint: str, sources: Mapping[str, ImageFiles], dtype: str) -> set[Path]:
    """The files of all maps of some datasets, flipped ones too, whether they exist or not.

    Raises:
        OSError: if an image file is not there.
    """
    shards = [shard for name, source in sources.items() for shard in plan_shards(name, source)]
    return {
        backbone_folder(folder, fingerprint) / file_name(shard, sources[shard.dataset], folder, flip, dtype)
        for shard in shards
        for flip in (False, True)
    }


def remove_others(folder: Path, in_use: Collection[Path]) -> tuple[int, int]:
    """Remove the files of a cache that are not in use, and nothing else: their number and their size in bytes."""
    count = size = 0
    for path in sorted(folder.glob("*/*")):
        if path not in in_use and _OURS.fullmatch(path.relative_to(folder).as_posix()):
            size += path.stat().st_size
            count += 1
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
    return count, size


def available_memory() -> int:
    """Bytes that can be used without swapping, by Linux's estimate; elsewhere the whole physical memory."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
