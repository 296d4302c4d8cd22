"""What workers do that see a run's folder at its URL alone: they bring what they read, and write there what they make."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from lat.config.load import Config
from lat.core.errors import InputError
from lat.core.url_folder import Stamps, UrlFolder
from lat.engine.jobs import Advance, ShardJob, uncounted
from lat.engine.processes import carried, is_first_of_group
from lat.engine.trackers import MEMORY
from lat.workspace.run_folder import workers_folder

CHECKPOINT_SECONDS = 15.0  # between two looks for a new checkpoint
_CARRIED = ("checkpoint.pt", "log.jsonl", MEMORY)  # in this order, so that the log has every line that the checkpoint counts on


class RecipeOfConfig(Protocol):
    """A `Recipe` that builds the job of a run with given settings."""

    @property
    def config(self) -> Config: ...

    def of(self, config: Config) -> ShardJob: ...


@dataclass(frozen=True)
class RecipeAtUrl:
    """Builds a job in a process that sees the URL of the run's folder; it can be pickled.

    Attributes:
        recipe: builds it where the run's folder is.
        needs: the run's files that its shards read.
    """

    recipe: RecipeOfConfig
    needs: Stamps

    def __call__(self) -> ShardJob:
        folder = workers_folder(self.recipe.config.output_dir)
        folder.fetch(self.needs)
        return JobAtUrl(self.recipe.of(placed_in(self.recipe.config, folder)), folder)


class JobAtUrl:
    """A job whose finished shards go to the URL; see `ShardJob`."""

    def __init__(self, job: ShardJob, folder: UrlFolder) -> None:
        self.job, self.folder = job, folder
        self.title, self.is_preparation, self.sizes = job.title, job.is_preparation, job.sizes

    def is_done(self, shard: int) -> bool:
        return self.job.is_done(shard)

    def run(self, shard: int, advance: Advance = uncounted) -> Sequence[Path]:
        """Do a shard, and write its files to the URL; returns them relative to the run's folder."""
        return self.folder.store(self.job.run(shard, advance))


def placed_in(config: Config, folder: UrlFolder) -> Config:
    """The settings of the same run in a folder of this machine."""
    return replace(config, output_dir=str(folder.folder))


@contextmanager
def training_at_url(config: Config, needs: Stamps, folders: Sequence[str]) -> Iterator[Config]:
    """Train in this machine's copy of a run's folder: what others have begun goes on, and what is made goes to the URL.

    While the block runs, so does every new checkpoint, that another machine may go on from if this one is lost. The processes of
    a group may be on several machines: what one makes that all read comes to each by the URL.

    Args:
        config: the run's settings.
        needs: the run's files that the training reads.
        folders: those that it writes, relative to the run's.

    Yields:
        The settings of the same run in the copy.
    """
    folder = workers_folder(config.output_dir)
    folder.fetch(needs)
    for each in folders:
        folder.pull(each)
    if not is_first_of_group():  # which writes all files
        with carried(folder):
            yield placed_in(config, folder)
        return
    ended = threading.Event()
    carrier = threading.Thread(target=_carry, args=(folder, folders, ended), name="checkpoints", daemon=True)
    carrier.start()
    try:
        with carried(folder):
            yield placed_in(config, folder)
    finally:
        ended.set()
        carrier.join()
    for each in folders:
        folder.push(each)


def _carry(folder: UrlFolder, folders: Sequence[str], ended: threading.Event) -> None:
    """Write new checkpoints to the URL, until the training has ended; one that is refused waits for the next."""
    carried: dict[str, tuple[int, int]] = {}
    while not ended.wait(CHECKPOINT_SECONDS):
        for each in folders:
            checkpoint = folder.folder / each / _CARRIED[0]
            with suppress(InputError, OSError):
                found = _version(checkpoint)
                if carried.get(each) != found:
                    for name in _CARRIED:
                        if name != MEMORY or (folder.folder / each / name).is_file():  # some trackers need none
                            folder.store([folder.folder / each / name])
                    stored = _version(checkpoint)  # storing marks the file by its time
                    if stored[0] == found[0]:  # or else a newer one is there, which may not have been stored
                        carried[each] = stored


def _version(path: Path) -> tuple[int, int]:
    """The file's inode, which is another once the file has been replaced, and the time of its last change."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns
