"""A worker of `lat.engine.local_workers`, a program of its own: it does shards of a job, as its standard input says.

Imports no torch: the environment in which it is started says how many threads it has.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from contextlib import suppress
from typing import BinaryIO

from lat.engine.outcome import Outcome


def main() -> None:
    """Read the recipe of a job, then numbers of shards; write how many images are done whenever some are, and each outcome."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the process that started this one, which ends it
    orders, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print
    with suppress(EOFError, BrokenPipeError):  # the process that started this one has ended
        recipe = Outcome.of(pickle.load, orders)
        job = recipe if recipe.value is None else Outcome.of(recipe.value)
        while True:
            shard = pickle.load(orders)
            answer(answers, job if job.value is None else Outcome.of(job.value.run, shard, lambda n: answer(answers, n)))


def answer(answers: BinaryIO, what: int | Outcome) -> None:
    """Send a message."""
    pickle.dump(what, answers)
    answers.flush()


if __name__ == "__main__":
    main()
