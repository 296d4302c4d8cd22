"""The device of a run and the processes that share its work, created on first use."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from lat.config.load import Config
from lat.core.errors import InputError
from lat.engine.executors import InProcesses, Local, Share
from lat.engine.jobs import Executor
from lat.engine.local_workers import LocalWorkers
from lat.engine.processes import Processes, started_processes
from lat.engine.ray_executor import Ray
from lat.engine.reading import available_cores
from lat.engine.runtime import build_fabric, fabric_alone, processes_of
from lat.models.feature_files import available_memory
from lat.workspace.run_folder import url_folder

if TYPE_CHECKING:
    from lightning_fabric import Fabric

BYTES_OF_A_WORKER = 2 * 2**30  # libraries, and the labels of all datasets


class Devices:
    """The device and processes of a run, as torchrun or srun started it."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def fabric(self) -> Fabric:
        return build_fabric(self.config.runtime, self.config.seed)

    @cached_property
    def processes(self) -> Processes:
        """This process among those that torchrun or srun started.

        Raises:
            InputError: if there are several and Ray is to start others.
        """
        here, machines = started_processes()
        if here * machines == 1:
            return Processes()
        if self.config.runtime.executor == "ray":
            what = f"is 'ray' in {here * machines} processes, and Ray starts its own"
            raise InputError("runtime.executor", what, "start `lat` once, without torchrun or srun")
        return processes_of(self.fabric)

    @property
    def here(self) -> int:
        """Number of processes of the run on this machine."""
        return self.processes.here

    @cached_property
    def executor(self) -> Executor:
        """Who does the shards of jobs."""
        if self.processes.size == 1 and self.config.runtime.executor == "ray":
            return self.on_ray
        return Local() if self.processes.size == 1 else InProcesses(self.processes)

    @cached_property
    def on_ray(self) -> Ray:
        """Workers on a Ray cluster, which join when they are asked for something."""
        runtime, folder = self.config.runtime, url_folder(self.config.output_dir)
        fewest, most = runtime.ray_workers
        return Ray(fewest, most, runtime.device_kind, *(() if folder is None else (folder.gather,)))

    @cached_property
    def executor_without_device(self) -> Executor:
        """Who does the shards of jobs that need no device: if this process is alone, others on the machine's idle cores."""
        if isinstance(self.executor, Local):
            return LocalWorkers(min(available_cores(), available_memory() // BYTES_OF_A_WORKER))
        return self.executor

    def release(self) -> None:
        """Let go of what does shards on other machines; it comes back when it is needed."""
        if "on_ray" in vars(self):
            self.on_ray.release()


class DevicesAlone(Devices):
    """The same device for one process that works without the others."""

    def __init__(self, together: Devices) -> None:
        super().__init__(together.config)
        self.together = together

    @cached_property
    def fabric(self) -> Fabric:
        return fabric_alone(self.config.runtime, self.together.fabric)

    @property
    def here(self) -> int:
        return self.together.here

    @cached_property
    def processes(self) -> Processes:
        return Processes()

    @cached_property
    def executor(self) -> Executor:
        return Local()


class DevicesForShare(Devices):
    """The devices of a process that does a share of a run's shards and nothing else."""

    def __init__(self, config: Config, share: Share) -> None:
        super().__init__(config)
        self.share = share

    @cached_property
    def executor(self) -> Executor:
        return self.share
