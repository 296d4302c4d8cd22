"""Processes that read what others compute on: how many there are, and the shared memory in which they hand it over."""

from __future__ import annotations

import os
from math import ceil

from lat.core.errors import InputError
from lat.engine.training_settings import RuntimeSettings

MOST_WORKERS = 16  # beside each process, unless the setting says otherwise
BATCHES_AHEAD = 2  # that each of them reads
SHARED_MEMORY = "/dev/shm"
_GIB = 2**30


def wanted_workers(runtime: RuntimeSettings, here: int, *, has_gpu: bool) -> int:
    """How many processes read beside this one: as set, or what the machine has.

    Beside a GPU they have all cores but one. On a CPU, where the cores compute, they have a fourth of those on which this process
    may: none on a laptop of two, nor where `OMP_NUM_THREADS` leaves it one.

    Args:
        runtime: the settings.
        here: processes of the run on this machine, which share its cores.
        has_gpu: whether they compute on GPUs.
    """
    if runtime.num_workers >= 0:
        return runtime.num_workers
    cores = available_cores() // here
    return min(MOST_WORKERS, max(1, cores - 1) if has_gpu else min(cores, _allowed_threads()) // 4)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _allowed_threads() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(given) if given.isdecimal() and int(given) else available_cores()


def shared_bytes(workers: int, batch_bytes: int) -> int:
    """Shared memory for what so many processes read ahead, and for the batch in use; none without them."""
    return (BATCHES_AHEAD * workers + 1) * batch_bytes if workers else 0


def free_shared_memory() -> int | None:
    """Free bytes of shared memory; None where a machine has no such place."""
    try:
        found = os.statvfs(SHARED_MEMORY)
    except (OSError, AttributeError):
        return None
    return int(found.f_bavail * found.f_frsize)


def fitting_workers(workers: int, batch_bytes: int) -> int:
    """The most of these processes for which there is shared memory."""
    room = free_shared_memory()
    return workers if room is None else next(n for n in range(workers, -1, -1) if shared_bytes(n, batch_bytes) <= room)


def check_shared_memory(workers: int, batch_bytes: int) -> None:
    """Check that shared memory has room for what so many processes read ahead.

    Raises:
        InputError: with what would be enough.
    """
    if (fitting := fitting_workers(workers, batch_bytes)) == workers:
        return
    needed, room = shared_bytes(workers, batch_bytes) / _GIB, (free_shared_memory() or 0) / _GIB
    what = f"is {workers}, which takes {needed:.1f} GiB of shared memory, and {SHARED_MEMORY} has {room:.1f} GiB free"
    remedy = f"set runtime.num_workers={fitting}, or enlarge {SHARED_MEMORY} (docker run --shm-size={ceil(needed)}g)"
    raise InputError("runtime.num_workers", what, remedy)
