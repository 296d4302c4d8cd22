"""Take the speed of the stages of a run from within, so that neither building models nor writing files counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from gpu_bench import Bench
from lightning_fabric import Fabric
from torch import Tensor, nn

from lat.engine.jobs import Recipe, ShardJob, missing_shards
from lat.engine.optimization import build_optimizer
from lat.engine.trainer import TrainItems, TrainJob
from lat.engine.training_settings import Training


@dataclass
class WatchedTraining:
    """A training that has ended: its model, its last batch, and the images per second from a quarter of its steps on."""

    bench: Bench
    model: Any = None
    batch: Any = None
    training: Any = None
    fabric: Any = None
    times: dict[int, float] = field(default_factory=dict)

    def note(self, batch: Any) -> None:
        """A batch is ready for the model; the device is waited for twice only."""
        steps, step = self.training.own.steps, len(self.times)
        waits = step in (steps // 4, steps - 1)
        self.times[step] = self.bench.now() if waits else time.perf_counter()
        self.batch = batch

    @property
    def images_per_second(self) -> float:
        first, last = self.training.own.steps // 4, self.training.own.steps - 1
        images: int = self.training.own.batch_size * (last - first)
        return images / (self.times[last] - self.times[first])

    def ceiling(self) -> float:
        """Images per second of the same steps on a batch that lies on the device."""
        fabric, model = self.fabric, self.model.train()
        optimizer = build_optimizer(model, self.training, is_fused=self.bench.is_gpu)
        batch = on_device(fabric, self.batch)
        weights = [one for one in model.parameters() if one.requires_grad]

        def step() -> None:
            with fabric.autocast():
                losses = model.losses(*batch)
            optimizer.zero_grad()
            torch.stack([loss.float() for loss in losses.values()]).sum().backward()
            nn.utils.clip_grad_norm_(weights, self.training.shared.gradient_clip)
            optimizer.step()

        images: int = self.training.own.batch_size
        return images / self.bench.seconds(step)


@contextmanager
def watched_training(module: ModuleType, bench: Bench) -> Iterator[WatchedTraining]:
    """Watch the training that a stage's module does in the block."""
    original, found = module.train, WatchedTraining(bench)

    def train(model: nn.Module, items: TrainItems, training: Training, job: TrainJob, fabric: Fabric) -> Path:
        found.model, found.training, found.fabric, found.times = model, training, fabric, {}

        def complete(batch: Any) -> Any:
            completed = batch if job.complete is None else job.complete(batch)
            found.note(completed)
            return completed

        path: Path = original(model, items, training, replace(job, complete=complete), fabric)
        return path

    module.train = train  # type: ignore[attr-defined]
    try:
        yield found
    finally:
        module.train = original  # type: ignore[attr-defined]


class WatchedShards:
    """An executor that does all shards in this process and takes the images per second of each kind of job."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.seconds: dict[str, float] = {}
        self.images: dict[str, int] = {}
        self.batch_sizes: dict[str, int] = {}

    def run(self, job: ShardJob, recipe: Recipe) -> None:
        """Do the missing shards; what comes before the end of the first batch does not count."""
        kind, start, images = type(job).__name__, 0.0, 0

        def advance(count: int) -> None:
            nonlocal start, images
            if start:
                images += count
            else:
                start = self.bench.now()
                self.batch_sizes[kind] = count

        for shard in missing_shards(job):
            job.run(shard, advance)
        if images:
            self.seconds[kind] = self.seconds.get(kind, 0.0) + self.bench.now() - start
            self.images[kind] = self.images.get(kind, 0) + images

    def images_per_second(self, kind: str) -> float:
        """Of a kind of job by the name of its class."""
        return self.images[kind] / self.seconds[kind]


def on_device(fabric: Fabric, value: Any) -> Any:
    """A batch on the device, its images as the models see them: float in [0, 1]."""
    if isinstance(value, list | tuple):
        return type(value)(on_device(fabric, one) for one in value)
    moved = fabric.to_device(value)
    return moved.float() / 255 if isinstance(moved, Tensor) and moved.dtype == torch.uint8 else moved
