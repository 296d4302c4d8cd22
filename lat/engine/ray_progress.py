"""How far workers on a Ray cluster are, in the one display of the process that started them.

Workers put what is new on a board, an actor beside that process, which looks at it every second. A board that is lost costs what
was new, no more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from lat.engine.progress import News, Screen, reporting, track

SECONDS = 1.0  # between two looks at the board, and between two reports of a worker

Hear = Callable[[int, News | int], None]
"""Takes what is new of the shard or function of this number: of a loop in it, or the number of its images that are done."""


class Notes:
    """The latest of each shard or function; lives in a process of its own on the cluster."""

    def __init__(self) -> None:
        self._latest: dict[tuple[int, int], News | int] = {}

    def put(self, job: int, number: int, news: News | int) -> None:
        self._latest[job, number] = news

    def take(self) -> dict[tuple[int, int], News | int]:
        """What is new since the last call, by the numbers of job and shard."""
        latest, self._latest = self._latest, {}
        return latest


class Board:
    """The notes, as the process sees them that started the workers.

    Args:
        ray: the module, connected.
    """

    def __init__(self, ray: Any) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self._ray, self._looked = ray, time.monotonic()
        self.notes = ray.remote(Notes).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()

    def look(self, job: int, hear: Hear, numbers: Container[int]) -> None:
        """Hear what is new of these shards or functions of a job, unless the last look was only just now."""
        if time.monotonic() - self._looked < SECONDS:
            return
        self._looked = time.monotonic()
        with suppress(self._ray.exceptions.RayError):
            for (of_job, number), news in self._ray.get(self.notes.take.remote(), timeout=5 * SECONDS).items():
                if of_job == job and number in numbers:
                    hear(number, news)

    @contextmanager
    def watched(self, hear: Hear) -> Iterator[None]:
        """Hear of job 0, which is one function, in a thread, while this context is open."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(SECONDS):
                self.look(0, hear, {0})

        thread = threading.Thread(target=watch, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@dataclass
class Teller:
    """Tells of one shard or function, in the worker that does it.

    Attributes:
        notes: the actor.
        job: number of the job.
        number: that of the shard or function.
    """

    notes: Any
    job: int
    number: int
    images: int = 0
    told: float = 0.0

    def listening(self) -> AbstractContextManager[None]:
        """While this context is open, every loop that shows its progress is told of."""
        return reporting(self._put)

    def count(self, images: int) -> None:
        """Count images as done; an `Advance`."""
        self.told = self.told or time.monotonic()
        self.images += images
        if time.monotonic() - self.told >= SECONDS:
            self.told = time.monotonic()
            self._put(self.images)

    def _put(self, news: News | int) -> None:
        self.notes.put.remote(self.job, self.number, news)


class CountedShards:
    """The progress of a job, of whose shards parts are done.

    Args:
        sizes: see `ShardJob`.
        progress: counts images.
    """

    def __init__(self, sizes: Sequence[int], progress: track) -> None:
        self.sizes, self.progress = sizes, progress
        self._done: dict[int, int] = {}

    def hear(self, shard: int, news: News | int) -> None:
        """Take over how many images of a shard are done: fewer than before if its worker has died."""
        if isinstance(news, int):
            self.progress.advance(news - self._done.get(shard, 0))
            self._done[shard] = news

    def finish(self, shard: int) -> None:
        self.hear(shard, self.sizes[shard])


class SideBySide:
    """Shows what functions in workers tell, each below the progress of all; a context, which ends with what it shows.

    Args:
        of_all: counts the functions; None if only one tells at a time.
    """

    def __init__(self, of_all: track | None = None) -> None:
        self.of_all = of_all
        self._shown: dict[int, track] = {}

    def __enter__(self) -> Self:
        return self

    def hear(self, number: int, news: News | int) -> None:
        """Show how far function `number` is: in the same loop as before, in a new one, or further back if its worker has died."""
        if isinstance(news, int):
            return
        shown = self._shown.get(number)
        if shown is None or shown.title != news.title or news.done < shown.done:
            self._end(number)
            shown = self._shown[number] = track(news.total, news.title, done=news.done, screen=Screen(within=self.of_all))
            shown.__enter__()
        shown.expect(news.total - shown.total)
        shown.advance(news.done - shown.done, **news.figures)

    def finish(self, number: int) -> None:
        """Show that a function is done, and no more of it."""
        if (shown := self._shown.get(number)) is not None:
            shown.advance(shown.total - shown.done)
        self._end(number)

    def _end(self, number: int) -> None:
        if (shown := self._shown.pop(number, None)) is not None:
            shown.__exit__(None, None, None)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number in list(self._shown):
            self._end(number)
