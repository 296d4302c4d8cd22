"""The frozen backbone's features of all training images, as work in shards: files that every process sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lat.engine.jobs import Advance, in_shards, uncounted
from lat.models.feature_files import Shard
from lat.stages.shared.transfer_model import open_features
from lat.workspace.workspace import Workspace


class FeatureShards:
    """Features with `lat.backbone.cache: disk`, a few files in each shard; see `ShardJob`.

    Args:
        workspace: the run.
        flips: False for the images as they are, True for the flipped ones.
    """

    is_preparation = False

    def __init__(self, workspace: Workspace, *, flips: Sequence[bool]) -> None:
        self.title = f"features of {workspace.config.lat.backbone.name}"
        self.features, self.flips = open_features(workspace), flips
        self._places = in_shards([range(i, i + 1) for i in range(len(self.features.shards))])

    @property
    def sizes(self) -> list[int]:
        """The number of maps of each shard."""
        return [len(self.flips) * sum(len(one.indices) for one in self._of(shard)) for shard in range(len(self._places))]

    def is_done(self, shard: int) -> bool:
        return not any(self.features.missing(one, self.flips) for one in self._of(shard))

    def run(self, shard: int, advance: Advance = uncounted) -> list[Path]:
        return self.features.fill_on_disk(self._of(shard), self.flips, advance)

    def _of(self, shard: int) -> list[Shard]:
        return [self.features.shards[i] for place in self._places[shard] for i in place]
