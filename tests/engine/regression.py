"""A small regression problem with a known optimum, and a model of it, for the tests of the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from factories import training
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lat.engine.runtime import build_fabric
from lat.engine.trainer import TrainJob, train
from lat.engine.training_settings import RuntimeSettings, Training

SLOPE, OFFSET = torch.tensor([[2.0, -1.0]]), 0.5


class Line(nn.Module):
    """y = a x + b. `noise` adds the model's own random numbers; a batch norm brings buffers that training changes."""

    def __init__(self, noise: float = 0.0, statistics: bool = False) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.linear = nn.Linear(2, 1)
        self.statistics = nn.BatchNorm1d(1) if statistics else None
        self.noise = noise

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        out = self.linear(x + self.noise * torch.randn_like(x))
        if self.statistics is not None:
            self.statistics(out.detach())
        error = out - y
        return {"square": (error**2).mean(), "absolute": 0.1 * error.abs().mean()}


class Points:
    """40 points on the line; each comes with jitter from its generator. `stop_at` counts items until a Ctrl-C."""

    def __init__(self, jitter: float = 0.0, stop_at: int = -1) -> None:
        self.x = torch.randn(40, 2, generator=torch.Generator().manual_seed(1))
        self.y = self.x @ SLOPE.T + OFFSET
        self.jitter, self.stop_at, self.served = jitter, stop_at, 0

    def __len__(self) -> int:
        return 40

    def item(self, index: int, generator: torch.Generator) -> Any:
        if self.served == self.stop_at:
            raise KeyboardInterrupt
        self.served += 1
        return self.x[index] + self.jitter * torch.randn(2, generator=generator), self.y[index]

    def collate(self, items: list[Any]) -> tuple[Any, ...]:
        return torch.stack([x for x, _ in items]), torch.stack([y for _, y in items])


def settings(**changes: Any) -> Training:
    """Quick settings without TensorBoard."""
    quick = {"steps": 30, "batch_size": 4, "warmup_steps": 4, "checkpoint_every": 7, "log_every": 5, "trackers": []}
    return training(**{**quick, **changes})


def train_line(out_dir: Path, model: nn.Module, items: Any, chosen: Training, **options: Any) -> Path:
    """Train on the CPU with seed 3."""
    fabric = build_fabric(RuntimeSettings(accelerator="cpu", precision=options.pop("precision", "32-true")), seed=3)
    given = {"seed": 3, "title": "line", "description": {"kind": "line", "classes": ["a", "b"]}, **options}
    return train(model, items, chosen, TrainJob(out_dir=out_dir, **given), fabric)


class CountsReads(TorchDispatchMode):
    """Counts the tensors that are read as a number of Python: on a GPU each waits for all that is computed before."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))
