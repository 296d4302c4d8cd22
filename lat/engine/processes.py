"""The processes of a run that torchrun or srun started: how they share a job, and how the results come together."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.distributed.rendezvous import rendezvous

from lat.core.errors import InputError

BLOCK = 4  # parts of a shared job that each process does before results are handed over
PATIENCE = timedelta(days=30)  # how long a process waits for what another computes; a dead one is noticed at once
SECONDS_TO_SEE = 60.0  # within this time all processes must see a file that one has written

Item = TypeVar("Item")
Result = TypeVar("Result")

_meeting: list[Any] = []  # once the processes have met: the store that all can reach, and their group for plain objects


def started_processes() -> tuple[int, int]:
    """Processes on this machine and number of machines, as torchrun or srun started them; (1, 1) without them."""
    if dist.is_available() and dist.is_torchelastic_launched():
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        return local, world // local
    if SLURMEnvironment.detect() and "SLURM_STEP_NUM_TASKS" in os.environ:  # srun sets it; a batch script itself is one process
        nodes = int(os.environ.get("SLURM_NNODES", 1))
        return int(os.environ["SLURM_NTASKS"]) // nodes, nodes
    return 1, 1


def meet() -> None:
    """Wait for the other processes of the run, if there are any; from then on the first alone writes on standard output.

    Raises:
        InputError: if srun was not told how many processes a machine has.
    """
    here, machines = started_processes()
    if here * machines == 1 or dist.is_initialized():
        return
    if not TorchElasticEnvironment.detect() and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise InputError("srun", f"starts {here * machines} tasks", "say how many on each machine, by --ntasks-per-node")
    environment = TorchElasticEnvironment() if TorchElasticEnvironment.detect() else SLURMEnvironment()
    os.environ |= {"MASTER_ADDR": environment.main_address, "MASTER_PORT": str(environment.main_port)}
    store, rank, size = next(rendezvous("env://", environment.global_rank(), environment.world_size()))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    _meeting[:] = store, dist.new_group(backend="gloo", timeout=PATIENCE)
    if rank:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the process lives


def together(command: Callable[[Callable[[str], None]], int]) -> int:
    """Do in all processes what a command does; returns the exit status of this one.

    Args:
        command: takes a function that prints a line on standard error, of several processes' equal lines one; returns a status.
    """
    try:
        meet()
        status = command(say_once)
        if status == 0 and dist.is_initialized():
            dist.barrier(group=_meeting[1])
            dist.destroy_process_group()
    except InputError as error:
        say_once(f"error: {error}")
        status = 2
    except Exception as error:
        say_once(_describe(error))
        status = 1
    return status


def say_once(line: str) -> None:
    """Print on standard error what several processes have to say, from the one that comes first."""
    key = f"lat/{sha256(line.encode()).hexdigest()}"
    try:
        is_news = not _meeting or _meeting[0].add(key, 1) == 1
    except RuntimeError:  # the store is gone with its process
        is_news = True
    if is_news:
        print(line, file=sys.stderr, flush=True)


def _describe(error: Exception) -> str:
    """One line if an error only says that another process has ended, otherwise its traceback."""
    signs = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")  # of gloo, which has no error of its own
    if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)):
        return "error: another process of this run has ended; what is done is kept, and the same command goes on from there"
    return "".join(traceback.format_exception(error)).rstrip()


class Processes:
    """The processes of a run, seen from one of them. What they share is done in blocks and comes together in order.

    An `InputError` that one process meets in a shared job is raised in all of them.

    Args:
        rank: which process this is, from 0.
        size: how many there are.
        here: how many of them are on this machine.
    """

    def __init__(self, rank: int = 0, size: int = 1, here: int = 1) -> None:
        self.rank, self.size, self.here = rank, size, here

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """The items that this process works on, in order: runs of neighbours, as `in_order` expects them."""
        return [items[i] for shares in _blocks(len(items), self.size) for i in shares[self.rank]]

    def in_order(self, mine: Iterable[Result], total: int, *, everywhere: bool = False) -> Iterator[Result]:
        """The results of all processes in the order of the items, while they come; every process must go through it.

        Args:
            mine: a result for each item of `share`, perhaps computed only when it is asked for.
            total: number of items of all processes together.
            everywhere: yield results in every process instead of in the first alone.
        """
        if self.size == 1:
            yield from mine
            return
        rest = iter(mine)
        for shares in _blocks(total, self.size):
            block, error = _outcome(lambda count: list(islice(rest, count)), len(shares[self.rank]))
            self._raise_any(error)
            for results in self._gather(block, everywhere):
                yield from results

    def from_first(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What a function returns in the first process, which alone calls it, in every process."""
        if self.size == 1:
            return function(*arguments)
        sent = [_outcome(function, *arguments) if self.is_first else None]
        dist.broadcast_object_list(sent, src=0, group=_meeting[1])
        assert sent[0] is not None
        result, error = sent[0]
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def settle(self, written: Iterable[Path]) -> None:
        """Wait until every process sees the files that this one and the others have `written`, each its own.

        Raises:
            InputError: if a process does not see one of them, as where machines do not share the folder.
        """
        if self.size == 1:
            return
        stamps: dict[Path, Any] = {}
        for each in self._gather_all({path: _stamp(path) for path in written}):
            stamps |= each
        deadline = time.monotonic() + SECONDS_TO_SEE
        unseen = list(stamps)
        while (unseen := [path for path in unseen if _stamp(path) != stamps[path]]) and time.monotonic() < deadline:
            time.sleep(0.2)
        remedy = "let output_dir be a folder that all machines share"
        self._raise_any(InputError(unseen[0], f"is not seen by process {self.rank}", remedy) if unseen else None)

    def _raise_any(self, error: InputError | None) -> None:
        for one in self._gather_all(error):
            if one is not None:
                raise one

    def _gather(self, block: Any, everywhere: bool) -> list[Any]:
        if everywhere:
            return self._gather_all(block)
        gathered = [None] * self.size if self.is_first else None
        dist.gather_object(block, gathered, dst=0, group=_meeting[1])
        return gathered or []

    def _gather_all(self, value: Any) -> list[Any]:
        gathered = [None] * self.size
        dist.all_gather_object(gathered, value, group=_meeting[1])
        return gathered


def _blocks(total: int, size: int) -> Iterator[list[range]]:
    """Block by block, the items of each process: neighbours, at most `BLOCK` of them and at most one more than any other's."""
    for start in range(0, total, BLOCK * size):
        count = min(BLOCK * size, total - start)
        yield [range(start + rank * count // size, start + (rank + 1) * count // size) for rank in range(size)]


def _outcome(function: Callable[..., Result], *arguments: Any) -> tuple[Result | None, InputError | None]:
    try:
        return function(*arguments), None
    except InputError as error:
        return None, error


def _stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of change of a file; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
