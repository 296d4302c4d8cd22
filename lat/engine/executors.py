"""Who does the shards of a job: this process, the processes of a run as each is free, or one of many that never meet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lat.core.errors import InputError
from lat.engine.claims import Claims
from lat.engine.jobs import Recipe, ShardJob, missing_shards, tracked
from lat.engine.processes import Processes


class Local:
    """Does all shards in this process, one after another."""

    def run(self, job: ShardJob, recipe: Recipe) -> None:
        do_here(job, missing_shards(job))


class InProcesses:
    """Does shards in the processes that torchrun or srun started: whoever is free takes the next.

    A slow process does fewer; one that dies ends the run and costs the shard that it was doing.

    Args:
        processes: those of the run.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._jobs = 0  # run so far; all processes run the same

    def run(self, job: ShardJob, recipe: Recipe) -> None:
        missing = self.processes.from_first(missing_shards, job)
        self._jobs += 1
        claims = Claims(self.processes.counters, f"{self._jobs}", len(missing))
        written: list[Path] = []
        try:
            with tracked(job, missing) as progress:
                for place in claims:
                    written += job.run(missing[place], lambda images: progress.advance(claims.advance(images)))
            error = None
        except InputError as raised:
            claims.stop()
            error = raised
        self.processes.raise_any(error)
        self.processes.settle(written)


class ShareIsDone(Exception):  # noqa: N818 - not an error: it ends the work on a job whose other shards are left to others
    """A share of a job's shards exists; the rest is for other processes."""


@dataclass(frozen=True)
class Share:
    """Does every `parts`-th shard from number `part` on, for processes that know nothing of each other, as in a job array.

    Attributes:
        part: 0 <= part < parts.
        parts: the number of processes.
    """

    part: int
    parts: int

    def run(self, job: ShardJob, recipe: Recipe) -> None:
        """Do this share; of a preparation, do afterwards what nobody else has done by then.

        Raises:
            ShareIsDone: unless the job is a preparation, since only who sees all shards may go on.
        """
        do_here(job, [shard for shard in missing_shards(job) if shard % self.parts == self.part])
        if not job.is_preparation:
            raise ShareIsDone(job.title)
        rest = sorted(missing_shards(job), key=lambda shard: (shard - self.part) % self.parts)
        with tracked(job, rest) as progress:
            for shard in rest:
                if job.is_done(shard):
                    progress.advance(job.sizes[shard])
                else:
                    job.run(shard, progress.advance)


def do_here(job: ShardJob, shards: list[int]) -> None:
    """Do these shards in this process, showing progress."""
    with tracked(job, shards) as progress:
        for shard in shards:
            job.run(shard, progress.advance)
