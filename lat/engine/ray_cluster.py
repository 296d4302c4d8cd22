"""The Ray cluster of a run, and what its workers do before and after a function of ours.

Imports no torch: workers set their number of threads first.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lat.core.errors import InputError
from lat.engine.outcome import WorkerError

LAUNCHERS = ("TORCHELASTIC_", "SLURM_")  # variables by which torchrun and srun tell a process of others
OF_A_GROUP = ("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
Item = TypeVar("Item")

Function = Callable[[], None]
"""What a worker does; it can be pickled, writes files, and can be begun anew after any end."""

DEATHS = 5  # of workers that were doing the same thing; one more ends the run


class RayWorkerError(WorkerError):
    """Workers on Ray died, or could not do what they were asked."""


@dataclass(frozen=True)
class Place:
    """Where a worker stands: set up from what the driver knows.

    Attributes:
        folder: the driver's working directory, where relative paths begin.
        cpus: the worker's CPUs, and so the threads of its arithmetic.
    """

    folder: str
    cpus: int = 1

    @staticmethod
    def of_driver() -> Place:
        return Place(str(Path.cwd()))

    def enter(self) -> None:
        """Make this process a worker that knows of no launcher, in the driver's folder if this machine has it."""
        for name in [name for name in os.environ if name.startswith(LAUNCHERS)]:
            del os.environ[name]
        if os.path.isdir(self.folder):
            os.chdir(self.folder)
        os.environ["OMP_NUM_THREADS"] = str(self.cpus)  # for torch, and for the processes that read images
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(self.cpus)

    def enter_alone(self) -> None:
        """The same, for a worker that is in no group of processes."""
        for name in OF_A_GROUP:
            os.environ.pop(name, None)
        self.enter()


def join_cluster() -> Any:
    """The module `ray`, connected to the cluster at `RAY_ADDRESS`, or else to one on this machine that ends with this process.

    Raises:
        InputError: if Ray is not installed, or no cluster answers at the address.
    """
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "(?s).*")  # reports of machines that are lost: the run goes on
    try:
        import ray
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    if ray.is_initialized():
        return ray
    address = os.environ.get("RAY_ADDRESS", "local")
    starts = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **starts)
    except ConnectionError:
        raise InputError("RAY_ADDRESS", f"is {address}, where no Ray cluster answers", "start one with `ray start`") from None
    return ray


def not_installed(error: ModuleNotFoundError) -> InputError:
    """The error for a module that Ray, or its part for training, needs."""
    return InputError("runtime.executor", f"is 'ray', which needs {error.name}", "pip install 'lat-detection[ray]'")


def count_gpus(ray: Any, accelerator: str) -> int:
    """The GPUs of the cluster that a run may use; at least one if the settings ask for CUDA, for a cluster may grow."""
    if accelerator not in ("auto", "cuda"):
        return 0
    found = int(ray.cluster_resources().get("GPU", 0))
    return max(1, found) if accelerator == "cuda" else found


def require_seen(paths: Iterable[Path]) -> None:
    """Wait until this process sees files that workers have written.

    Raises:
        InputError: if it does not see one of them in time, for example because machines do not share the folder.
    """
    if unseen := unseen_in_time(list(paths), Path.is_file):
        what = "was written by a Ray worker and is not seen by this process"
        raise InputError(unseen[0], what, "choose an output_dir that all machines share")


def unseen_in_time(items: list[Item], is_seen: Callable[[Item], bool]) -> list[Item]:
    """The items that are not seen, after some time at most."""
    from lat.engine.processes import SECONDS_TO_SEE

    deadline = time.monotonic() + SECONDS_TO_SEE
    while (items := [item for item in items if not is_seen(item)]) and time.monotonic() < deadline:
        time.sleep(0.2)
    return items
