"""Shards, and whole trainings, done by workers on a Ray cluster: they join and leave while a job runs, and live from job to job.

`ray.data` would do the same with processes that end with each job: models, labels and features would be loaded anew for every
pair of datasets.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lat.engine.jobs import Advance, Recipe, ShardJob, missing_shards, tracked
from lat.engine.outcome import Outcome
from lat.engine.progress import track
from lat.engine.ray_cluster import DEATHS, Function, Place, RayWorkerError, count_gpus, join_cluster, require_seen, unseen_in_time
from lat.engine.ray_progress import SECONDS, Board, CountedShards, Hear, SideBySide, Teller

Gather = Callable[[Sequence[Path]], Sequence[Path]]


class Worker:
    """A process on the cluster that does shards; it keeps what its last job has loaded.

    Args:
        place: where it stands.
        notes: the actor that it tells how far it is.
    """

    def __init__(self, place: Place, notes: Any) -> None:
        place.enter_alone()
        self.notes = notes
        self.job_number, self.job = 0, Outcome()

    def is_ready(self) -> bool:
        """True, once the worker runs."""
        return True

    def do(self, job_number: int, recipe: Sequence[Any], shard: int) -> Outcome:
        """Do a shard; its value is the shard's files.

        Args:
            job_number: tells jobs apart.
            recipe: the reference to the recipe of the job, which is read when the job is new here.
            shard: its number.
        """
        if job_number != self.job_number:
            import ray

            self.job_number, self.job = job_number, Outcome()  # let the one before go first
            self.job = Outcome.of(lambda: ray.get(recipe[0])())
        if self.job.value is None:
            return self.job
        teller = Teller(self.notes, job_number, shard)
        with teller.listening():
            return Outcome.of(self.job.value.run, shard, teller.count)


@dataclass(frozen=True)
class Functions:
    """Functions in the place of the shards of a job."""

    functions: Sequence[Function]

    def run(self, number: int, advance: Advance) -> Sequence[Path]:
        self.functions[number]()
        return ()


@dataclass
class Crew:
    """Workers by what they do now; a reference tells when they have done it."""

    starting: dict[Any, Any]
    doing: dict[Any, tuple[Any, int]]
    free: list[Any]

    def __len__(self) -> int:
        return len(self.starting) + len(self.doing) + len(self.free)

    def ask_free(self) -> None:
        """Let the free workers tell anew that they run: a machine may have been lost."""
        self.starting |= {worker.is_ready.remote(): worker for worker in self.free}
        self.free.clear()


class Ray:
    """Does shards on a Ray cluster, each worker with one GPU, or one CPU where the cluster has no GPUs.

    It asks for a worker per missing shard, and Ray starts as many as there is room for, at once or when a machine joins. A worker
    that dies costs the shard that it was doing, which another does.

    Args:
        fewest: workers that are asked for even if there are fewer shards.
        most: the most workers; 0 for as many as there is room for.
        accelerator: that of the run.
        gather: makes this process see the files of a shard that a worker has done, and returns where they are.
    """

    def __init__(self, fewest: int, most: int, accelerator: str, gather: Gather = lambda files: files) -> None:
        self.fewest, self.most, self.accelerator, self.gather = fewest, most, accelerator, gather
        self._crew = Crew({}, {}, [])
        self._jobs = 0
        self._ray: Any = None
        self._board: Any = None
        self._hire: Any = None  # starts a worker

    def run(self, job: ShardJob, recipe: Recipe) -> None:
        missing = missing_shards(job)
        if not missing:
            return
        self._join()
        files: dict[int, Sequence[Path]] = {}
        with tracked(job, missing) as progress:
            counted = CountedShards(job.sizes, progress)
            try:
                for shard, written in self._do(recipe, missing, counted.hear):
                    files[shard] = self.gather(written)
                    counted.finish(shard)
            except BaseException:
                self.release()
                raise
        if unseen := unseen_in_time(missing, job.is_done):
            require_seen(files[unseen[0]])
            raise RayWorkerError(
                f"{job.title}: a Ray worker has done shard {unseen[0]}, and its files are not what they should be"
            )

    def do_each(self, functions: Sequence[Function], title: str) -> Iterator[int]:
        """Do each function in one worker, as many at a time as there is room for; yield the number of each when it is done.

        A function whose worker dies is begun anew in another.

        Raises:
            InputError: if a function raised it.
            WorkerError: if a function raised another error, or its workers died again and again.
        """
        self._join()
        with track(len(functions), title) as progress, SideBySide(progress) as each:
            try:
                for number, _ in self._do(partial(Functions, functions), range(len(functions)), each.hear):
                    each.finish(number)
                    progress.advance()
                    yield number
            except BaseException:
                self.release()
                raise

    def release(self) -> None:
        """Let all workers go, and with them their GPUs."""
        crew, self._crew = self._crew, Crew({}, {}, [])
        for worker in (*crew.starting.values(), *crew.free, *(worker for worker, _ in crew.doing.values())):
            self._ray.kill(worker)

    def _join(self) -> None:
        if self._ray is None:
            self._ray = join_cluster()
            gpus = min(1, count_gpus(self._ray, self.accelerator))
            place = Place.of_driver()
            start = self._ray.remote(Worker).options(
                num_cpus=place.cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
            )
            self._board = Board(self._ray)
            self._hire = lambda: start.remote(place, self._board.notes)

    def _do(
        self, recipe: Callable[[], ShardJob | Functions], missing: Sequence[int], hear: Hear
    ) -> Iterator[tuple[int, Sequence[Path]]]:
        """Yield each shard, and its files, as it is done; hear how far the others are."""
        self._jobs += 1
        crew, reference = self._crew, [self._ray.put(recipe)]
        waiting, deaths = deque(missing), Counter[int | None]()
        crew.ask_free()
        while waiting or crew.doing:
            while waiting and crew.free:
                worker, shard = crew.free.pop(), waiting.popleft()
                crew.doing[worker.do.remote(self._jobs, reference, shard)] = worker, shard
            self._fill(len(waiting) + len(crew.doing))
            found, _ = self._ray.wait([*crew.starting, *crew.doing], num_returns=1, timeout=SECONDS)
            self._board.look(self._jobs, hear, {shard for _, shard in crew.doing.values()})
            if not found:
                continue
            (ready,) = found
            if ready in crew.starting:
                self._has_started(crew.starting.pop(ready), ready, deaths)
                continue
            worker, shard = crew.doing.pop(ready)
            outcome = self._answer(ready, deaths, shard)
            if outcome is None:
                waiting.append(shard)
                crew.ask_free()
            else:
                crew.free.append(worker)
                yield shard, outcome.unwrap()
        for worker in crew.starting.values():  # those for which there was no room: nobody needs a machine more for them
            self._ray.kill(worker)
        crew.starting.clear()

    def _fill(self, shards: int) -> None:
        """Ask for the workers that so many shards, done or waiting, can use."""
        wanted = max(self.fewest, min(shards, self.most or shards))
        for _ in range(wanted - len(self._crew)):
            worker = self._hire()
            self._crew.starting[worker.is_ready.remote()] = worker

    def _has_started(self, worker: Any, ready: Any, deaths: Counter[int | None]) -> None:
        if self._answer(ready, deaths, None):
            del deaths[None]
            self._crew.free.append(worker)

    def _answer(self, reference: Any, deaths: Counter[int | None], shard: int | None) -> Any:
        """What a worker has answered; None if it died.

        Raises:
            RayWorkerError: if too many have died over the same shard, or (None) before they had begun.
        """
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            deaths[shard] += 1
            if deaths[shard] > DEATHS:
                over = "before they had begun" if shard is None else f"over shard {shard}"
                raise RayWorkerError(f"{deaths[shard]} Ray workers have died {over}; the last: {error}") from None
            return None
