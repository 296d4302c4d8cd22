"""What the parts of `gpu.py` share: the device, the time that is left, how durations and peak memory are taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

MIB = 2**20
LONGEST = 1.5  # seconds that an action is repeated for
MOST_REPEATS = 50


@dataclass
class Memory:
    """The highest memory that PyTorch had allocated on the device, in MiB; None on a CPU, where it does not count."""

    peak: float | None = None


@dataclass
class Bench:
    """A benchmark on one device.

    Attributes:
        device: cuda or cpu.
        small: whether everything is as small as it can be.
        budget: seconds that all parts may take together.
        folder: for files, deleted in the end.
    """

    device: torch.device
    small: bool
    budget: float
    folder: Path
    _start: float = field(default_factory=time.monotonic)

    @property
    def is_gpu(self) -> bool:
        return self.device.type == "cuda"

    def left(self) -> float:
        """Seconds of the budget that are left; negative once it is spent."""
        return self.budget - (time.monotonic() - self._start)

    def describe(self) -> str:
        """The device and PyTorch, in a line."""
        name = torch.cuda.get_device_name(self.device) if self.is_gpu else f"CPU, {torch.get_num_threads()} threads"
        return f"{name}, PyTorch {torch.__version__}"

    def synchronize(self) -> None:
        """Wait until the device has done what it was given."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def now(self) -> float:
        """A time in seconds, once the device has done what it was given."""
        self.synchronize()
        return time.perf_counter()

    def seconds(self, action: Callable[[], object]) -> float:
        """Mean duration of an action that is repeated for some seconds, after two times that do not count.

        The device is waited for at the end only, so that what does not wait for it may run ahead.
        """
        action()
        start = self.now()
        action()
        once = self.now() - start
        repeats = 1 if self.small else max(1, min(MOST_REPEATS, int(LONGEST / max(once, 1e-6))))
        start = self.now()
        for _ in range(repeats):
            action()
        return (self.now() - start) / repeats

    @contextmanager
    def memory(self) -> Iterator[Memory]:
        """Take the peak of what is done in the block."""
        found = Memory()
        if self.is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        yield found
        if self.is_gpu:
            self.synchronize()
            found.peak = torch.cuda.max_memory_allocated(self.device) / MIB


def rounded(value: float) -> float:
    """A figure to three digits."""
    return float(f"{value:.3g}")


def mib(memory: Memory) -> object:
    """Peak memory for a table; a dash on a CPU."""
    return "-" if memory.peak is None else round(memory.peak)
