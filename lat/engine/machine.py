"""What this machine can do, found within some milliseconds and without torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from lat.engine.reading import available_cores

REFERENCE_GFLOPS = 53.0
"""Of small matrix products on one core of the machine on which costs were measured."""

_MIB_PER_GIB = 1024


@dataclass(frozen=True)
class Machine:
    """What decides how long a run takes.

    Attributes:
        cores: that a run may use.
        gpu_gib: memory of its first GPU in GiB; 0 for none.
        speed: of one core, as a multiple of the reference's.
    """

    cores: int
    gpu_gib: float = 0.0
    speed: float = 1.0

    def __str__(self) -> str:
        return f"a GPU of {self.gpu_gib:.0f} GiB" if self.gpu_gib else f"{self.cores} core{'s' * (self.cores != 1)}"


def this_machine() -> Machine:
    """The machine that this process runs on; takes some milliseconds, beside a GPU up to a second."""
    return Machine(available_cores(), _gpu_gib(), _speed())


def _speed() -> float:
    """How fast one core multiplies matrices that are too small to be shared out; the best of some tries."""
    matrices = np.full((64, 64, 64), 0.5, dtype=np.float32)
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        np.matmul(matrices, matrices)
        seconds.append(time.perf_counter() - start)
    return 2 * 64**4 / min(seconds) / 1e9 / REFERENCE_GFLOPS


def _gpu_gib() -> float:
    """Memory of the first GPU of NVIDIA that torch can use, as its driver tells; 0 for none."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1") or _torch_is_for_cpus():
        return 0.0
    if (tool := shutil.which("nvidia-smi")) is None:
        return 0.0
    command = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
        return float(said.splitlines()[0]) / _MIB_PER_GIB
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0.0


def _torch_is_for_cpus() -> bool:
    try:
        return version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return True
