"""The processes of a run that torchrun or srun started: how they share a job, and how the results come together."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from lat.core.errors import InputError
from lat.core.url_folder import UrlFolder
from lat.engine.claims import Counters

BLOCK = 4  # items of a shared job that each process does before results are exchanged
PATIENCE = timedelta(days=30)  # how long a process waits for what another computes; a dead one is noticed at once
SECONDS_TO_LEAVE = 5.0  # after an error, how long the process with the store waits for the others
SECONDS_TO_SEE = 60.0  # within this time all processes must see a file that one has written

Item = TypeVar("Item")
Result = TypeVar("Result")

_meeting: list[Any] = []  # once the processes have met: the store that they share, their group for plain objects, and, if a
# library has started them, True

_carrying: list[UrlFolder] = []  # the folder at a URL that processes write to, if each machine has a copy of its own


def started_processes() -> tuple[int, int]:
    """Number of processes on this machine and of machines, as torchrun or srun started them; (1, 1) without them.

    Each process of a group that was joined counts as a machine of its own.
    """
    if in_joined_group():
        return 1, dist.get_world_size()
    if dist.is_available() and dist.is_torchelastic_launched():
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        return local, world // local
    if "SLURM_STEP_NUM_TASKS" in os.environ and _is_started_by_srun():  # set by srun; a batch script itself is one process
        nodes = int(os.environ.get("SLURM_NNODES", 1))
        return int(os.environ["SLURM_NTASKS"]) // nodes, nodes
    return 1, 1


def _is_started_by_srun() -> bool:
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment  # takes as long to import as torch

    return SLURMEnvironment.detect()


def meet() -> None:
    """Wait for the other processes of the run, if any; from then on only the first writes to standard output.

    Raises:
        InputError: if srun was not told how many processes to start per machine.
    """
    here, machines = started_processes()
    if here * machines == 1 or dist.is_initialized():
        return
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if not TorchElasticEnvironment.detect() and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise InputError("srun", f"starts {here * machines} tasks", "set the number per machine with --ntasks-per-node")
    environment = TorchElasticEnvironment() if TorchElasticEnvironment.detect() else SLURMEnvironment()
    os.environ |= {"MASTER_ADDR": environment.main_address, "MASTER_PORT": str(environment.main_port)}
    store, rank, size = next(rendezvous("env://", environment.global_rank(), environment.world_size()))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    _meeting[:] = store, dist.new_group(backend="gloo", timeout=PATIENCE)
    if rank:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until the process ends


def join_group() -> None:
    """Take the processes of the group that PyTorch is in as those of the run: a library has started them, and it ends them."""
    _meeting.clear()
    if dist.get_world_size() > 1:
        _meeting[:] = dist.distributed_c10d._get_default_store(), dist.new_group(backend="gloo", timeout=PATIENCE), True


def in_joined_group() -> bool:
    """True after `join_group`, if the group has several processes."""
    return len(_meeting) > 2


def is_first_of_group() -> bool:
    """True in the first process of a group that was joined, and in one that is in none."""
    return not in_joined_group() or dist.get_rank() == 0


@contextmanager
def carried(folder: UrlFolder) -> Iterator[None]:
    """While this context is open, what processes write into a copy of a folder goes to its URL, and from there to all copies."""
    _carrying.append(folder)
    try:
        yield
    finally:
        _carrying.remove(folder)


def together(command: Callable[[Callable[[str], None]], int]) -> int:
    """Run a command in all processes and return the exit status of this one.

    Args:
        command: takes a function that prints a line on standard error, once if several processes print it; returns a status.
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
    if status:
        _leave()
    return status


def _leave() -> None:
    """Let the process that holds the store, by which a line is said once, stay some seconds for the others to say theirs."""
    if not _meeting:
        return
    store, deadline = _meeting[0], time.monotonic() + SECONDS_TO_LEAVE
    with suppress(RuntimeError):  # the process with the store has ended
        gone = store.add("lat/left", 1)
        while dist.get_rank() == 0 and gone < dist.get_world_size() and time.monotonic() < deadline:
            time.sleep(0.05)
            gone = store.add("lat/left", 0)


def say_once(line: str) -> None:
    """Print a line on standard error once, though several processes may call this with it."""
    key = f"lat/{sha256(line.encode()).hexdigest()}"
    try:
        is_news = not _meeting or _meeting[0].add(key, 1) == 1
    except RuntimeError:  # the process with the store has ended
        is_news = True
    if is_news:
        print(line, file=sys.stderr, flush=True)


def _describe(error: Exception) -> str:
    """One line if an error only says that another process has ended, otherwise its traceback."""
    signs = (
        "Connection closed by peer",
        "Connection reset by peer",
        "Broken pipe",
    )  # from gloo, which has no error class of its own
    if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)):
        return "error: another process of this run has ended; finished work is kept, and the same command continues from there"
    return "".join(traceback.format_exception(error)).rstrip()


class Processes:
    """The processes of a run, seen from one of them. They do shared jobs in blocks and collect the results in order.

    An `InputError` that one process raises in a shared job is raised in all of them.

    Args:
        rank: which process this is, from 0.
        size: number of processes.
        here: number of processes on this machine.
    """

    def __init__(self, rank: int = 0, size: int = 1, here: int = 1) -> None:
        self.rank, self.size, self.here = rank, size, here

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def counters(self) -> Counters:
        """Numbers that the processes share; only if there are several."""
        counters: Counters = _meeting[0]
        return counters

    def share(self, items: Sequence[Item]) -> list[Item]:
        """The items that this process works on, in order: contiguous runs, as `in_order` expects."""
        return [items[i] for shares in _blocks(len(items), self.size) for i in shares[self.rank]]

    def in_order(self, mine: Iterable[Result], total: int, *, everywhere: bool = False) -> Iterator[Result]:
        """Yield the results of all processes in item order as they arrive; every process must exhaust the iterator.

        Args:
            mine: a result for each item of `share`; may be lazy.
            total: number of items over all processes.
            everywhere: yield results in every process, not only in the first.
        """
        if self.size == 1:
            yield from mine
            return
        rest = iter(mine)
        for shares in _blocks(total, self.size):
            block, error = _outcome(lambda count: list(islice(rest, count)), len(shares[self.rank]))
            self.raise_any(error)
            for results in self._gather(block, everywhere):
                yield from results

    def from_first(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function in the first process alone, and return its result in every process."""
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
        """Wait until every process sees the files that each has `written`, or carry them to all; see `carried`.

        Raises:
            InputError: if a process does not see one of them, for example because machines do not share the folder.
        """
        if self.size == 1:
            return
        if _carrying:
            self._carry(_carrying[-1], list(written))
            return
        stamps: dict[Path, Any] = {}
        for each in self._gather_all({path: _stamp(path) for path in written}):
            stamps |= each
        deadline = time.monotonic() + SECONDS_TO_SEE
        unseen = list(stamps)
        while (unseen := [path for path in unseen if _stamp(path) != stamps[path]]) and time.monotonic() < deadline:
            time.sleep(0.2)
        remedy = "choose an output_dir that all machines share"
        self.raise_any(InputError(unseen[0], f"is not seen by process {self.rank}", remedy) if unseen else None)

    def _carry(self, folder: UrlFolder, written: Sequence[Path]) -> None:
        """Write what this process has `written` to the URL, and bring what the others have."""
        _, error = _outcome(folder.store, written)
        self.raise_any(error)
        stored = {name: stamp for each in self._gather_all(folder.stamps(written)) for name, stamp in each.items()}
        _, error = _outcome(folder.fetch, stored)
        self.raise_any(error)

    def raise_any(self, error: InputError | None) -> None:
        """Raise the first error that any process has, in all of them; each calls this with its own, or with None."""
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
    """For each block, the contiguous items of each process: at most `BLOCK`, and at most one more than any other's."""
    for start in range(0, total, BLOCK * size):
        count = min(BLOCK * size, total - start)
        yield [range(start + rank * count // size, start + (rank + 1) * count // size) for rank in range(size)]


def _outcome(function: Callable[..., Result], *arguments: Any) -> tuple[Result | None, InputError | None]:
    try:
        return function(*arguments), None
    except InputError as error:
        return None, error


def _stamp(path: Path) -> tuple[int, int] | None:
    """Size and modification time of a file; None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
