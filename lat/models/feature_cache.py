"""Feature maps of a frozen backbone, computed once: in memory, or as files on disk."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lat.core.errors import InputError
from lat.models.backbones.frozen import CACHE_DTYPES, BackboneSettings, FrozenBackbone

IMAGES_PER_SHARD = 8


class ImageSource(Protocol):
    """The images of one dataset."""

    def __len__(self) -> int: ...

    def size_hw(self, index: int) -> tuple[int, int]:
        """(height, width) of an image in pixels, without decoding it."""
        ...

    def image(self, index: int) -> Tensor:
        """(3, H, W) float32 RGB in [0, 1]; called from several threads."""
        ...

    def image_path(self, index: int) -> Path:
        """The image file; only the disk cache uses it."""
        ...


class WorkSharing(Protocol):
    """Processes that share work, as in `lat.engine.processes`."""

    here: int  # number of processes on this machine

    def share(self, items: Sequence[Any]) -> list[Any]:
        """The items that this process works on."""
        ...

    def in_order(self, mine: Iterable[Any], total: int, *, everywhere: bool) -> Iterator[Any]:
        """The results of all processes in the order of the items."""
        ...


def file_identity(path: Path) -> str:
    """Name, size and modification time of a file: changes when the file is written again."""
    status = path.stat()
    return f"{path.name} {status.st_size} {status.st_mtime_ns}"


@dataclass(frozen=True)
class Shard:
    """Images of one dataset and one size whose maps are computed, cached and written together."""

    dataset: str
    size_hw: tuple[int, int]
    indices: tuple[int, ...]


class FeatureCache:
    """Maps of the frozen backbone for (dataset, image index, flipped), each computed once, in batches.

    The flipped entry is the map of the flipped image, not the flipped map. Images may differ in size. A shard on disk is one
    `.npy` file that appears whole or not at all. Its name is a hash of the backbone's weights and preprocessing, the number
    format and the image files, so nothing stale is served, and an interrupted `fill` continues where it stopped. The folder may
    be deleted at any time.

    Args:
        backbone: the frozen backbone; maps are computed on its device.
        sources: the images of each dataset, by dataset name.
        settings: only `cache` and `cache_dtype` are used.
        folder: where `cache: disk` keeps its files.

    Raises:
        InputError: if `cache: memory` needs more memory than there is.
    """

    def __init__(
        self,
        backbone: FrozenBackbone,
        sources: Mapping[str, ImageSource],
        settings: BackboneSettings,
        folder: Path | None = None,
    ) -> None:
        assert settings.cache != "disk" or folder is not None
        self.backbone = backbone
        self.sources = sources
        self.settings = settings
        self.folder = folder
        self.dtype = CACHE_DTYPES[settings.cache_dtype]
        self.shards = [shard for name, source in sources.items() for shard in _plan_shards(name, source)]
        self._place = {(shard.dataset, index): (shard, row) for shard in self.shards for row, index in enumerate(shard.indices)}
        self._kept: dict[tuple[Shard, bool], Tensor] = {}
        self._files: dict[tuple[Shard, bool], Path] = {}

    def get(self, dataset: str, index: int, flip: bool = False) -> Tensor:
        """The map (C, h, w) of one image, float16 or float32 as set, on the CPU; computed if missing."""
        shard, row = self._place[dataset, index]
        if self.settings.cache == "none":
            return self._compute(self.sources[dataset].image(index)[None], flip)[0]
        if self.settings.cache == "memory":
            if (shard, flip) not in self._kept:
                self._kept[shard, flip] = self._compute(self._read_images(shard), flip)
            return self._kept[shard, flip][row]
        stored = self._open(shard, flip)
        if stored is None:
            self._write(shard, flip, self._compute(self._read_images(shard), flip))
            stored = self._open(shard, flip)
            assert stored is not None
        return torch.from_numpy(np.array(stored[row]))

    def scales(self, dataset: str, index: int) -> tuple[float, float]:
        """Exact (scale_y, scale_x) of one image's map, in map cells per original pixel."""
        return self.backbone.scales(self._place[dataset, index][0].size_hw)

    def fill(
        self,
        progress: Callable[[int], None] = lambda _: None,
        flips: Sequence[bool] = (False, True),
        processes: WorkSharing | None = None,
    ) -> None:
        """Compute every missing map.

        Args:
            progress: called with the number of new maps, shard by shard; `count_missing` is their total.
            flips: False for the original images, True for the flipped ones.
            processes: share the work; all of them must call this. With `cache: memory` each ends up with all maps.

        Raises:
            InputError: if `cache: memory` needs more memory than there is.
        """
        if self.settings.cache == "none":
            return
        self._check_memory(len(flips) * (1 if processes is None else processes.here))
        mine = self.shards if processes is None else processes.share(self.shards)
        filled: Iterator[tuple[int, dict[bool, Tensor]]] = (self._fill(shard, flips) for shard in mine)
        if processes is not None:
            filled = processes.in_order(filled, len(self.shards), everywhere=True)
        for shard, (computed, maps) in zip(self.shards, filled, strict=True):
            self._kept |= {(shard, flip): one for flip, one in maps.items()}
            if computed:
                progress(computed)

    def count_missing(self, flips: Sequence[bool] = (False, True)) -> int:
        """Number of maps that `fill` would compute."""
        if self.settings.cache == "none":
            return 0
        return sum(len(shard.indices) for shard in self.shards for flip in flips if not self._has(shard, flip))

    def estimate_bytes(self, flips: int = 2) -> int:
        """Size of all maps in bytes, with `flips` maps per image."""
        cells = 0
        for shard in self.shards:
            scale_y, scale_x = self.backbone.scales(shard.size_hw)
            cells += len(shard.indices) * ceil(shard.size_hw[0] * scale_y) * ceil(shard.size_hw[1] * scale_x)
        return cells * flips * self.backbone.channels * self.dtype.itemsize

    def _fill(self, shard: Shard, flips: Sequence[bool]) -> tuple[int, dict[bool, Tensor]]:
        """Compute a shard's missing maps; return their number and, unless they are on disk, the maps of all flips."""
        missing = [flip for flip in flips if not self._has(shard, flip)]
        images = self._read_images(shard) if missing else None
        for flip in missing:
            assert images is not None
            maps = self._compute(images, flip)
            if self.settings.cache == "memory":
                self._kept[shard, flip] = maps
            else:
                self._write(shard, flip, maps)
        kept = {flip: self._kept[shard, flip] for flip in flips} if self.settings.cache == "memory" else {}
        return len(missing) * len(shard.indices), kept

    def _check_memory(self, flips: int) -> None:
        if self.settings.cache != "memory" or self._kept:
            return
        needed, available = self.estimate_bytes(flips), available_memory()
        if needed > available:
            what = f"is 'memory', but the features take {needed / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are available"
            raise InputError("lat.cache", what, "set lat.cache=disk")

    def _read_images(self, shard: Shard) -> Tensor:
        with ThreadPoolExecutor(min(len(shard.indices), os.cpu_count() or 1)) as readers:
            return torch.stack(list(readers.map(self.sources[shard.dataset].image, shard.indices)))

    def _compute(self, images: Tensor, flip: bool) -> Tensor:
        maps = self.backbone.feature_maps(images.flip(3) if flip else images).to(self.dtype).cpu()
        if not torch.isfinite(maps).all():
            what = f"is '{self.settings.cache_dtype}', but the backbone's features exceed its range or are not finite"
            raise InputError("lat.cache_dtype", what, "set lat.cache_dtype=float32, or check the backbone's weights")
        return maps

    def _has(self, shard: Shard, flip: bool) -> bool:
        if self.settings.cache == "memory":
            return (shard, flip) in self._kept
        return self._open(shard, flip) is not None

    def _file(self, shard: Shard, flip: bool) -> Path:
        if (shard, flip) not in self._files:
            assert self.folder is not None
            images = [file_identity(self.sources[shard.dataset].image_path(index)) for index in shard.indices]
            key = json.dumps([shard.dataset, shard.size_hw, images, flip, self.settings.cache_dtype])
            name = f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
            self._files[shard, flip] = self.folder / self.backbone.weights_fingerprint[:16] / name
        return self._files[shard, flip]

    def _open(self, shard: Shard, flip: bool) -> np.ndarray | None:
        """The memory-mapped maps of a shard, (images, C, h, w), or None if there is no valid file."""
        try:
            return np.load(self._file(shard, flip), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):  # missing or damaged: recompute
            return None

    def _write(self, shard: Shard, flip: bool, maps: Tensor) -> None:
        path = self._file(shard, flip)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False) as temporary:
            try:
                np.save(temporary, maps.numpy(), allow_pickle=False)
                temporary.flush()
                os.fsync(temporary.fileno())
                os.replace(temporary.name, path)
            except BaseException:
                os.unlink(temporary.name)
                raise


def _plan_shards(dataset: str, source: ImageSource) -> list[Shard]:
    by_size: dict[tuple[int, int], list[int]] = {}
    for index in range(len(source)):
        height, width = source.size_hw(index)
        by_size.setdefault((int(height), int(width)), []).append(index)
    return [
        Shard(dataset, size_hw, tuple(indices[start : start + IMAGES_PER_SHARD]))
        for size_hw, indices in by_size.items()
        for start in range(0, len(indices), IMAGES_PER_SHARD)
    ]


def available_memory() -> int:
    """Bytes available without swapping: Linux's own estimate, elsewhere the whole physical memory."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
