"""Feature maps of a frozen backbone, computed once: in memory, or as files on disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lat.core.errors import InputError
from lat.models.backbones.frozen import FrozenBackbone
from lat.models.feature_files import ImageFiles, Shard, available_memory, backbone_folder, file_name, plan_shards
from lat.models.model_settings import BackboneSettings


class ImageSource(ImageFiles, Protocol):
    """The images of one dataset."""

    def image(self, index: int) -> Tensor:
        """(3, H, W) float32 RGB in [0, 1]; called from several threads."""
        ...


class WorkSharing(Protocol):
    """How several processes share work; `lat.engine.processes.Processes` does it."""

    here: int  # number of processes on this machine

    def share(self, items: Sequence[Any]) -> list[Any]:
        """The items that this process works on."""
        ...

    def in_order(self, mine: Iterable[Any], total: int, *, everywhere: bool) -> Iterator[Any]:
        """The results of all processes in the order of the items."""
        ...


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
        self.dtype = getattr(torch, settings.cache_dtype)
        self.shards = [shard for name, source in sources.items() for shard in plan_shards(name, source)]
        self._place = {(shard.dataset, index): (shard, row) for shard in self.shards for row, index in enumerate(shard.indices)}
        self._kept: dict[tuple[Shard, bool], Tensor] = {}
        self._files: dict[tuple[Shard, bool], Path] = {}

    def get(self, dataset: str, index: int, flip: bool = False) -> Tensor:
        """The map (C, h, w) of one image, float16 or float32 as set, on the CPU; computed if missing."""
        shard, row = self._place[dataset, index]
        if self.settings.cache == "none":
            return self._compute(self.sources[dataset].image(index)[None], flip)[0].cpu()
        if self.settings.cache == "memory":
            if (shard, flip) not in self._kept:
                self._kept[shard, flip] = self._compute(self._read_images(shard), flip).cpu()
            return self._kept[shard, flip][row]
        stored = self._open(shard, flip)
        if stored is None:
            self._write(shard, flip, self._compute(self._read_images(shard), flip).cpu())
            stored = self._open(shard, flip)
            assert stored is not None
        return torch.from_numpy(np.array(stored[row]))

    def load(self, dataset: str, index: int, flip: bool = False) -> Tensor:
        """What any process can read of one image: its map or, where none are kept, its pixels (3, H, W) uint8 for `complete`.

        Workers that read images must not run the backbone: after a fork they cannot use a GPU.
        """
        if self.settings.cache != "none":
            return self.get(dataset, index, flip)
        image = self.sources[dataset].image(index)
        return (image.flip(2) if flip else image).mul(255).round().to(torch.uint8)

    def complete(self, loaded: Sequence[Tensor]) -> list[Tensor]:
        """The maps (C, h, w) of some loaded images; those of one size go through the backbone together, on its device."""
        maps = list(loaded)
        by_size: dict[torch.Size, list[int]] = {}
        for place, one in enumerate(loaded):
            if one.dtype == torch.uint8:
                by_size.setdefault(one.shape, []).append(place)
        for places in by_size.values():
            images = torch.stack([loaded[place] for place in places]).to(self.backbone.device).float().div(255)
            for place, one in zip(places, self._compute(images, False), strict=True):
                maps[place] = one
        return maps

    def scales(self, dataset: str, index: int) -> tuple[float, float]:
        """Exact (scale_y, scale_x) of one image's map, map cells per original pixel."""
        return self.backbone.scales(self._place[dataset, index][0].size_hw)

    def fill(
        self,
        progress: Callable[[int], None] = lambda _: None,
        flips: Sequence[bool] = (False, True),
        processes: WorkSharing | None = None,
    ) -> None:
        """Compute every missing map.

        Args:
            progress: called with the number of maps that became ready, shard by shard; `count_missing` is their total.
            flips: False for the images as they are, True for the flipped ones.
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
        """Size of all maps in bytes, `flips` of them per image."""
        cells = 0
        for shard in self.shards:
            scale_y, scale_x = self.backbone.scales(shard.size_hw)
            cells += len(shard.indices) * ceil(shard.size_hw[0] * scale_y) * ceil(shard.size_hw[1] * scale_x)
        result: int = cells * flips * self.backbone.channels * self.dtype.itemsize
        return result

    def _fill(self, shard: Shard, flips: Sequence[bool]) -> tuple[int, dict[bool, Tensor]]:
        """Compute the missing maps of a shard; returns their number, and the maps of all flips unless they are on disk."""
        missing = [flip for flip in flips if not self._has(shard, flip)]
        images = self._read_images(shard) if missing else None
        for flip in missing:
            assert images is not None
            maps = self._compute(images, flip).cpu()
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
            raise InputError("lat.backbone.cache", what, "set lat.backbone.cache=disk")

    def _read_images(self, shard: Shard) -> Tensor:
        with ThreadPoolExecutor(min(len(shard.indices), os.cpu_count() or 1)) as readers:
            return torch.stack(list(readers.map(self.sources[shard.dataset].image, shard.indices)))

    def _compute(self, images: Tensor, flip: bool) -> Tensor:
        maps = self.backbone.feature_maps(images.flip(3) if flip else images).to(self.dtype)
        if not torch.isfinite(maps).all():
            what = f"is '{self.settings.cache_dtype}', but the backbone's features exceed its range or are not finite"
            raise InputError(
                "lat.backbone.cache_dtype", what, "set lat.backbone.cache_dtype=float32, or check the backbone's weights"
            )
        return maps

    def _has(self, shard: Shard, flip: bool) -> bool:
        if self.settings.cache == "memory":
            return (shard, flip) in self._kept
        return self._open(shard, flip) is not None

    def _file(self, shard: Shard, flip: bool) -> Path:
        if (shard, flip) not in self._files:
            assert self.folder is not None
            folder = backbone_folder(self.folder, self.backbone.weights_fingerprint)
            self._files[shard, flip] = folder / file_name(
                shard, self.sources[shard.dataset], self.folder, flip, self.settings.cache_dtype
            )
        return self._files[shard, flip]

    def _open(self, shard: Shard, flip: bool) -> np.ndarray | None:
        """The memory-mapped maps of a shard, (images, C, h, w), or None without a sound file."""
        try:
            result: np.ndarray | None = np.load(self._file(shard, flip), mmap_mode="r", allow_pickle=False)
            return result
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
