"""What a run computes on: device, precision, processes, seeds."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from lat.core.errors import InputError
from lat.engine.allocation import keep_freed_memory
from lat.engine.precision import precision_of, uses_cuda
from lat.engine.processes import Processes, in_joined_group, meet, started_processes
from lat.engine.training_settings import RuntimeSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def build_fabric(runtime: RuntimeSettings, seed: int) -> Fabric:
    """A launched Fabric for these settings, with every random number generator seeded.

    It uses the processes that torchrun or srun started, or else this one alone.

    Raises:
        InputError: if the machine lacks the device.
    """
    from lightning_fabric import Fabric  # takes as long to import as torch, and much of `lat` computes without it
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    from lat.engine.joined_group import JoinedGroup

    _check_accelerator(runtime.device_kind)
    if runtime.precision == "tf32" and uses_cuda(runtime):
        torch.set_float32_matmul_precision("high")
    processes, nodes = started_processes()
    meet()
    joined = JoinedGroup() if in_joined_group() else None
    # A batch without boxes leaves heads without gradients; DDP must be told to expect that.
    is_one = processes * nodes == 1
    fabric = Fabric(
        accelerator=runtime.device_kind,
        devices=[torch.cuda.current_device()] if joined and uses_cuda(runtime) else processes,
        num_nodes=nodes,
        strategy="auto" if is_one else "ddp_find_unused_parameters_true",
        precision=precision_of(runtime),  # type: ignore[arg-type]
        plugins=LightningEnvironment() if is_one else joined,  # even in a SLURM batch script
    )
    fabric.launch()
    if fabric.device.type == "cpu":
        keep_freed_memory()
    seed_everything(seed)
    return fabric


def fabric_alone(runtime: RuntimeSettings, fabric: Fabric) -> Fabric:
    """A Fabric on the device of `fabric` for one process that works without the others."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.strategies.single_device import SingleDeviceStrategy

    alone = Fabric(
        accelerator=runtime.device_kind,
        devices=1,
        strategy=SingleDeviceStrategy(fabric.device),
        precision=precision_of(runtime),  # type: ignore[arg-type]
        plugins=LightningEnvironment(),
    )
    alone.launch()
    return alone


def laid_out(model: nn.Module, device: torch.device) -> nn.Module:
    """The model itself on a device; on a GPU its convolutions are channels last, as the images are."""
    model.to(device)
    return model.to(memory_format=torch.channels_last) if device.type == "cuda" else model


def gradient_scaler(fabric: Fabric) -> torch.amp.GradScaler | None:
    """The scaler of gradients, which only 16-mixed has."""
    return getattr(fabric.strategy.precision, "scaler", None)


def processes_of(fabric: Fabric) -> Processes:
    """The processes that a Fabric joins."""
    here, _ = started_processes()
    return Processes(fabric.global_rank, fabric.world_size, min(here, fabric.world_size))


def seed_everything(seed: int) -> None:
    """Seed the global random number generators of Python, NumPy and PyTorch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _check_accelerator(accelerator: str) -> None:
    missing = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if missing.get(accelerator):
        raise InputError("runtime.accelerator", f"is '{accelerator}', which this machine does not have", "set it to auto or cpu")
