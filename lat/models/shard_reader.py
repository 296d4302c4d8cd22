"""Read the images of a feature cache's shards, in threads, before their maps are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, Protocol

from torch import Tensor

from lat.models.feature_files import Shard


class Pixels(Protocol):
    """The images of one dataset."""

    def pixels(self, index: int) -> Tensor:
        """(3, H, W) uint8 RGB; called from several threads."""
        ...


class ShardReader:
    """Reads one shard after another, each once, as they are asked for; any thread may ask. A copy in another process begins anew.

    Args:
        sources: the images of each dataset.
        readers: threads that read the images of one shard.
    """

    def __init__(self, sources: Mapping[str, Pixels], readers: int) -> None:
        self.sources, self.readers = sources, readers
        self._lock, self._pool = Lock(), ThreadPoolExecutor(1)
        self._begun: dict[Shard, Future[list[Tensor]]] = {}

    def begin(self, shard: Shard) -> None:
        """Have the images of a shard read."""
        with self._lock:
            if shard not in self._begun:
                self._begun[shard] = self._pool.submit(self._read, shard)

    def take(self, shard: Shard) -> list[Tensor]:
        """The images of a shard, which are forgotten then; raises what reading them raised."""
        self.begin(shard)
        with self._lock:
            return self._begun.pop(shard).result()

    def _read(self, shard: Shard) -> list[Tensor]:
        with ThreadPoolExecutor(min(len(shard.indices), self.readers)) as readers:
            return list(readers.map(self.sources[shard.dataset].pixels, shard.indices))

    def __reduce__(self) -> tuple[Any, ...]:
        return ShardReader, (self.sources, self.readers)
