"""How a run reads its images: the processes that do it, as far as cores and shared memory go."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

from lat.data.read_ahead import READERS
from lat.engine.announce import say
from lat.engine.reading import SHARED_MEMORY, check_shared_memory, fitting_workers, wanted_workers
from lat.workspace.preflight import feature_bytes
from lat.workspace.workspace import Workspace


def reading_workers(workspace: Workspace) -> int:
    """How many processes read images beside each process of the run.

    Raises:
        InputError: if the settings ask for more than there is shared memory for.
    """
    runtime, here = workspace.config.runtime, workspace.devices.here
    wanted = wanted_workers(runtime, here, has_gpu=workspace.fabric.device.type == "cuda")
    if not wanted:
        return 0
    batch_bytes = largest_batch_bytes(workspace) * here
    if runtime.num_workers >= 0:
        check_shared_memory(wanted, batch_bytes)
        return wanted
    fitting = fitting_workers(wanted, batch_bytes)
    if fitting < wanted:
        _say_once(f"{SHARED_MEMORY} has room for {fitting} of {wanted} processes that read; docker run --shm-size gives more")
    return fitting


def reading_threads(workspace: Workspace) -> int:
    """How many threads of this process decode images for a detector that predicts: one for each process that would."""
    wanted = wanted_workers(workspace.config.runtime, workspace.devices.here, has_gpu=workspace.fabric.device.type == "cuda")
    return max(READERS, wanted)


def check_reading(workspace: Workspace) -> None:
    """Raise an `InputError` if the settings ask for more processes that read than this machine has shared memory for.

    Machines of a Ray cluster find out by themselves.
    """
    if workspace.config.runtime.num_workers > 0 and workspace.config.runtime.executor != "ray":
        reading_workers(workspace)


def largest_batch_bytes(workspace: Workspace) -> int:
    """Bytes of the largest batch that one process of the run trains on, as processes hand it over.

    Detectors get float32 on a CPU, and bytes on a GPU, unless images are varied beyond augmentation. The label-transfer model
    gets bytes, or the maps of a cache on disk.
    """
    config, size = workspace.config, workspace.processes.size
    sizes_hw = [(h, w) for name in workspace.names for h, w in workspace.data.train_part(name).labels.sizes_hw.tolist()]
    height, width = max(sizes_hw, key=lambda size_hw: size_hw[0] * size_hw[1])
    is_bytes = workspace.fabric.device.type == "cuda" and not config.rounds.count
    of_detectors = max(config.downstream.training.batch_size, *(one.training.batch_size for one in config.upstream.all_members))
    of_image = 3 * height * width
    of_transfer = of_image
    if config.lat.backbone.cache == "disk":
        of_transfer = feature_bytes(config, [(height, width)]) // (2 if config.augmentation.horizontal_flip else 1)
    most = max(of_detectors * of_image * (1 if is_bytes else 4), config.lat.training.batch_size * of_transfer)
    result: int = ceil(most / size)
    return result


@lru_cache
def _say_once(line: str) -> None:
    say(line)
