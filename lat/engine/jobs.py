"""Work in shards: inference over many images as pieces that any process on any machine can do, in any order.

A finished shard is durable: a run that was stopped does the missing ones only, and the result does not depend on who did which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import Protocol

from lat.engine.progress import track

MAX_SHARDS = 256  # of one job: more would only cost files
QUIET_SECONDS = 2.0  # a preparation that takes longer shows its progress
MIN_BATCHES = 4  # per shard: fewer would not be worth a file


Advance = Callable[[int], None]
"""Counts images as done."""


def uncounted(images: int) -> None:
    """An `Advance` for who shows no progress within a shard."""


class ShardJob(Protocol):
    """Inference over images cut into shards.

    A shard is a pure function of the run's settings, its files, and the shard's number: whole batches of images, so that padding
    and rounding do not depend on who does it.
    """

    @property
    def title(self) -> str:
        """What the work is, for its progress."""

    @property
    def is_preparation(self) -> bool:
        """True if every process needs all shards before it can go on to what it is for."""

    @property
    def sizes(self) -> Sequence[int]:
        """The number of images of each shard."""

    def is_done(self, shard: int) -> bool:
        """True if the shard's files exist, whole and made from what the job is made from now."""

    def run(self, shard: int, advance: Advance = uncounted) -> Sequence[Path]:
        """Do a shard, counting its images; its files are durable when this returns.

        Returns:
            The files, which appear whole or not at all.
        """


Recipe = Callable[[], ShardJob]
"""Builds a job in another process; it can be pickled."""


class Executor(Protocol):
    """Does the shards of jobs."""

    def run(self, job: ShardJob, recipe: Recipe) -> None:
        """Do every shard that is missing; all shards exist, seen by this process, when this returns.

        Args:
            job: the job in this process. With several processes of a run, each calls this with its own.
            recipe: builds the same job in any other process.

        Raises:
            InputError: if one of the processes that work raised it.
        """


def in_shards(batches: Sequence[range]) -> list[Sequence[range]]:
    """Batches of images cut into at most `MAX_SHARDS` shards of as many whole batches, the last of the rest."""
    size = max(MIN_BATCHES, ceil(len(batches) / MAX_SHARDS))
    return [batches[start : start + size] for start in range(0, len(batches), size)]


def sizes_of(shards: Sequence[Sequence[range]]) -> list[int]:
    """The number of images of each shard."""
    return [sum(map(len, batches)) for batches in shards]


def missing_shards(job: ShardJob) -> list[int]:
    """The numbers of the shards that have yet to be done."""
    return [shard for shard in range(len(job.sizes)) if not job.is_done(shard)]


def tracked(job: ShardJob, missing: Sequence[int]) -> track:
    """The progress of a job of which these shards are missing; nothing is shown if none is."""
    images, left = sum(job.sizes), sum(job.sizes[shard] for shard in missing)
    seconds = QUIET_SECONDS if job.is_preparation else 0.0
    return track(images, job.title, done=images - left, quiet=not missing, after_seconds=seconds)
