"""Feature maps of a frozen backbone, computed once: in memory, or as files on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from math import ceil
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.lib.format import header_data_from_array_1_0, write_array_header_1_0
from torch import Tensor

from lat.core.copies import to_device
from lat.core.errors import InputError
from lat.core.files import open_atomically
from lat.data.read_ahead import READERS, read_ahead
from lat.models.backbones.frozen import FrozenBackbone
from lat.models.feature_files import (
    IMAGES_PER_SHARD,
    ImageFiles,
    Shard,
    available_memory,
    backbone_folder,
    file_name,
    numbers_in,
    plan_shards,
)
from lat.models.feature_range import FeatureRange
from lat.models.model_settings import BackboneSettings, images_at_once
from lat.models.shard_reader import Pixels, ShardReader


class ImageSource(ImageFiles, Pixels, Protocol):
    """The images of one dataset."""


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
        readers: threads that read images.

    Raises:
        InputError: if `cache: memory` needs more memory than there is.
    """

    def __init__(
        self,
        backbone: FrozenBackbone,
        sources: Mapping[str, ImageSource],
        settings: BackboneSettings,
        folder: Path | None = None,
        readers: int = READERS,
    ) -> None:
        assert settings.cache != "disk" or folder is not None
        self.backbone = backbone
        self.sources = sources
        self.settings = settings
        self.folder = folder
        self.readers = readers
        self.dtype: torch.dtype = getattr(torch, settings.cache_dtype)
        self.range = FeatureRange(settings.cache_dtype)
        self.shards = [shard for name, source in sources.items() for shard in plan_shards(name, source)]
        self._numbers = numbers_in(self.shards, sources)
        self._reader = ShardReader(sources, readers)
        self._kept: dict[tuple[Shard, bool], Tensor] = {}
        self._files: dict[tuple[Shard, bool], Path] = {}

    def get(self, dataset: str, index: int, flip: bool = False) -> Tensor:
        """The map (C, h, w) of one image, float16 or float32 as set, on the CPU; computed if missing."""
        (one,) = self.complete([self.load(dataset, index, flip)])
        return one.cpu()

    def load(self, dataset: str, index: int, flip: bool = False) -> Tensor:
        """What any thread or process can read of one image, for `complete`: its map from disk, its pixels, or its number.

        Workers that read images must not run the backbone: after a fork they cannot use a GPU. The images of a map that is
        missing are read from now on, in threads.

        Returns:
            (C, h, w) of the cache's number format; where none are kept (3, H, W) uint8; else (2,) int64, number and flip.
        """
        if self.settings.cache == "none":
            pixels = self.sources[dataset].pixels(index)
            return pixels.flip(2) if flip else pixels
        shard, row = self._place(number := int(self._numbers[dataset][index]))
        if self.settings.cache == "disk" and (stored := self._open(shard, flip)) is not None:
            return torch.from_numpy(np.array(stored[row]))
        if not self._has(shard, flip):
            self._reader.begin(shard)
        return torch.tensor([number, flip])

    def complete(self, loaded: Sequence[Tensor]) -> list[Tensor]:
        """The maps (C, h, w) of some loaded images, computed where missing: those of one size go through the backbone together.

        Maps that were kept are where they are kept, others on the backbone's device.
        """
        maps = list(loaded)
        by_size: dict[torch.Size, list[int]] = {}
        for place, one in enumerate(loaded):
            if one.dtype == torch.uint8:
                by_size.setdefault(one.shape, []).append(place)
            elif one.dtype == torch.int64:
                number, flip = one.tolist()
                maps[place] = self._kept_map(number, bool(flip))
        for places in by_size.values():
            images = torch.stack([to_device(loaded[place], self.backbone.device) for place in places])
            for place, one in zip(places, self._compute(images), strict=True):
                maps[place] = one
        return maps

    def scales(self, dataset: str, index: int) -> tuple[float, float]:
        """Exact (scale_y, scale_x) of one image's map, map cells per original pixel."""
        return self.backbone.scales(self._place(int(self._numbers[dataset][index]))[0].size_hw)

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
        filled = self._filled(mine, flips)
        if processes is not None:
            if len(mine) < len(self.shards):
                filled = ((computed, {flip: one.cpu() for flip, one in maps.items()}) for computed, maps in filled)
            filled = processes.in_order(filled, len(self.shards), everywhere=True)
        for shard, (computed, maps) in zip(self.shards, filled, strict=True):
            for flip, one in maps.items():
                self._keep(shard, flip, one)
            if computed:
                progress(computed)
        self.range.settle()

    def fill_on_disk(self, shards: Sequence[Shard], flips: Sequence[bool], progress: Callable[[int], None]) -> list[Path]:
        """Compute the missing maps of some of `shards`, with `cache: disk`; returns the files of all their maps."""
        for computed, _ in self._filled(shards, flips):
            progress(computed)
        self.range.settle()
        return [self._file(shard, flip) for shard in shards for flip in flips]

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

    def _filled(self, shards: Sequence[Shard], flips: Sequence[bool]) -> Iterator[tuple[int, dict[bool, Tensor]]]:
        """What `_fill` returns for each shard, while images are read ahead."""
        images = read_ahead(self._pixels, (self._images_of(shard, self.missing(shard, flips)) for shard in shards), self.readers)
        return map(partial(self._fill, flips=flips), shards, images)

    def _fill(self, shard: Shard, pixels: Sequence[Tensor], flips: Sequence[bool]) -> tuple[int, dict[bool, Tensor]]:
        """Compute the missing maps of a shard; returns their number, and the maps of all flips unless they are on disk."""
        missing = self.missing(shard, flips)
        for flip in missing:
            self._keep(shard, flip, self._of_pixels(pixels, flip))
        kept = {flip: self._kept[shard, flip] for flip in flips} if self.settings.cache == "memory" else {}
        return len(missing) * len(shard.indices), kept

    def missing(self, shard: Shard, flips: Sequence[bool]) -> list[bool]:
        """The flips of which a shard has no maps yet."""
        return [flip for flip in flips if not self._has(shard, flip)]

    def _images_of(self, shard: Shard, flips: Sequence[bool]) -> list[tuple[str, int]]:
        """The images of a shard, if it has maps to compute."""
        return [(shard.dataset, index) for index in shard.indices] if flips else []

    def _place(self, number: int) -> tuple[Shard, int]:
        """The shard of an image, and which of the shard's images it is."""
        return self.shards[number // IMAGES_PER_SHARD], number % IMAGES_PER_SHARD

    def _kept_map(self, number: int, flip: bool) -> Tensor:
        """One map (C, h, w) of those that are kept, computed with its shard if missing."""
        shard, row = self._place(number)
        if not self._has(shard, flip):
            self._keep(shard, flip, self._of_pixels(self._reader.take(shard), flip))
        if self.settings.cache == "memory":
            return self._kept[shard, flip][row]
        stored = self._open(shard, flip)
        assert stored is not None
        return torch.from_numpy(np.array(stored[row]))

    def _keep(self, shard: Shard, flip: bool, maps: Tensor) -> None:
        if self.settings.cache == "memory":
            self._kept[shard, flip] = maps.to(self._home)
        elif not self._has(shard, flip):
            on_host = maps.cpu()
            self.range.settle()
            self._write(shard, flip, on_host)

    def _check_memory(self, flips: int) -> None:
        if self.settings.cache != "memory" or self._kept:
            return
        needed, available = self.estimate_bytes(flips), available_memory()
        if needed > available:
            what = f"is 'memory', but the features take {needed / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are available"
            raise InputError("lat.backbone.cache", what, "set lat.backbone.cache=disk")

    @cached_property
    def _home(self) -> torch.device:
        """Where maps are kept in memory: on a GPU with room for all of them twice over, else on the CPU."""
        device = self.backbone.device
        is_roomy = device.type == "cuda" and 2 * self.estimate_bytes() < torch.cuda.mem_get_info(device)[0]
        return device if is_roomy else torch.device("cpu")

    def _pixels(self, image: tuple[str, int]) -> Tensor:
        pixels = self.sources[image[0]].pixels(image[1])
        return pixels.pin_memory() if self.backbone.device.type == "cuda" else pixels

    def _of_pixels(self, pixels: Sequence[Tensor], flip: bool) -> Tensor:
        """The maps of images of one size, or of the flipped images."""
        images = torch.stack([to_device(one, self.backbone.device) for one in pixels])
        return self._compute(images.flip(3) if flip else images)

    def _compute(self, images: Tensor) -> Tensor:
        """Maps (B, C, h, w) of images (B, 3, H, W) uint8: all at once on a CPU, as many as suit the backbone on a GPU."""
        at_once = images_at_once(self.settings.name) if self.backbone.device.type == "cuda" else len(images)
        parts = [self.backbone.feature_maps(part, self.dtype) for part in images.split(at_once)]
        maps = parts[0] if len(parts) == 1 else torch.cat(parts)
        self.range.watch(maps)
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
        values = np.ascontiguousarray(maps.numpy())
        with open_atomically(self._file(shard, flip)) as file:  # not by `np.save`, which does not say why a disk refuses
            write_array_header_1_0(file, header_data_from_array_1_0(values))
            file.write(values.data)
