"""Shards that need no device, done by processes of this machine that live as long as their job.

Each worker is a program of its own: a fork of a process that uses a GPU does not work, and `multiprocessing` would begin each by
running the caller's script again.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Lock

from lat.engine.executors import do_here
from lat.engine.jobs import Advance, Recipe, ShardJob, missing_shards, tracked
from lat.engine.outcome import Outcome, WorkerEndedError

WORTH_IMAGES = 100_000  # for fewer, at a third of a millisecond each, one process is done before others have started

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


class LocalWorkers:
    """Does shards in processes on this machine, each with one thread and no GPU: whoever is free takes the largest that is left.

    Where one process does them as soon, for few images or on one core, this process does.

    Args:
        most: the most workers.
        worth_images: the fewest images, over all missing shards, for which workers are started.
    """

    def __init__(self, most: int, worth_images: int = WORTH_IMAGES) -> None:
        self.most, self.worth_images = most, worth_images

    def run(self, job: ShardJob, recipe: Recipe) -> None:
        missing = missing_shards(job)
        count = min(self.most, len(missing))
        if count < 2 or sum(job.sizes[shard] for shard in missing) < self.worth_images:
            do_here(job, missing)
            return
        waiting = deque(sorted(missing, key=lambda shard: -job.sizes[shard]))
        with tracked(job, missing) as progress:
            _share_out(job.title, waiting, recipe, count, progress.advance)


def _share_out(title: str, waiting: deque[int], recipe: Recipe, count: int, advance: Advance) -> None:
    """Let so many workers do the waiting shards, each told by a thread here; after an error the others finish what they do."""
    one_at_a_time = Lock()

    def advance_alone(images: int) -> None:
        with one_at_a_time:
            advance(images)

    workers = [_Worker(title, recipe) for _ in range(count)]
    with ThreadPoolExecutor(count) as threads:
        doing = [threads.submit(worker.do_all, waiting, advance_alone) for worker in workers]
        try:
            for one in doing:
                one.result()
        except KeyboardInterrupt:
            for worker in workers:
                worker.process.kill()
            raise
        finally:
            waiting.clear()


class _Worker:
    """A process that does shards, seen from the one that started it.

    Args:
        title: of the job.
        recipe: builds it.
    """

    def __init__(self, title: str, recipe: Recipe) -> None:
        self.title, self.recipe = title, pickle.dumps(recipe)
        alone = {**dict.fromkeys(_ONE_THREAD, "1"), "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-P", "-m", "lat.engine.shard_worker"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **alone}, bufsize=-1
        )

    def do_all(self, waiting: deque[int], advance: Advance) -> None:
        """Have shards done until none is waiting.

        Raises:
            InputError: if a shard raised it.
            WorkerError: if a shard raised another error; a `WorkerEndedError` if the process has ended.
        """
        try:
            self._send(self.recipe)
            while (shard := _next(waiting)) is not None:
                self._send(pickle.dumps(shard))
                while isinstance(message := self._receive(shard), int):
                    advance(message)
                message.unwrap()
        except BaseException:
            waiting.clear()
            raise
        finally:
            self._end()

    def _send(self, message: bytes) -> None:
        """Send a message; a worker that has ended is noticed when its answer is read."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(message)
            self.process.stdin.flush()

    def _receive(self, shard: int) -> int | Outcome:
        assert self.process.stdout is not None
        try:
            message: int | Outcome = pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError):
            how = _how_it_ended(self.process.wait())
            kept = "finished work is kept, and the same command continues from there"
            raise WorkerEndedError(f"{self.title}: a process that did shard {shard} {how}; {kept}") from None
        return message

    def _end(self) -> None:
        """Close the pipes, at which the process ends."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        self.process.wait()


def _next(waiting: deque[int]) -> int | None:
    """Take the first; None if there is none. Several threads take from the same."""
    try:
        return waiting.popleft()
    except IndexError:
        return None


def _how_it_ended(status: int) -> str:
    if status == -9:
        return "was killed, as happens when memory runs out"
    return f"ended with status {status}"
