"""Settings of a training and of what it runs on."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lat.core.errors import InputError

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("cosine", "constant", "multistep")
ACCELERATORS = ("auto", "cpu", "cuda", "mps", "compiled")
PRECISIONS = ("auto", "32-true", "tf32", "16-mixed", "bf16-mixed")
UPSTREAM_PARALLEL = ("datasets", "batch")
EXECUTORS = ("local", "ray")
TRACKERS = ("tensorboard", "wandb", "mlflow")


@dataclass(frozen=True)
class TrainSettings:
    """What each training has of its own.

    Raises:
        InputError: if a value is out of its range.
    """

    steps: int  # updates of the weights
    learning_rate: float  # highest learning rate, reached after the warm-up
    batch_size: int = 8  # images per step, over all devices together
    optimizer: str = "adamw"  # adamw or sgd

    def __post_init__(self) -> None:
        _check_choice("optimizer", self.optimizer, OPTIMIZERS)
        for name in ("steps", "batch_size"):
            _check_range(name, getattr(self, name), getattr(self, name) >= 1, "must be at least 1")
        _check_range("learning_rate", self.learning_rate, 0 < self.learning_rate < math.inf, "must be above 0")


def check_batch_size(section: str, batch_size: int, processes: int) -> None:
    """Raise an `InputError` that names the key of a section, if a batch cannot be shared out over so many processes."""
    if batch_size % processes:
        key = f"{section}.training.batch_size".removeprefix(".")
        raise InputError(key, f"is {batch_size} for {processes} processes", f"make it a multiple of {processes}")


@dataclass(frozen=True)
class SharedTrainSettings:
    """Section `training`: what upstream detectors, the label-transfer model and downstream detectors are all trained with.

    Raises:
        InputError: if a value is out of its range.
    """

    weight_decay: float = 1e-4  # on weights of two or more dimensions; never on norms and biases
    warmup_steps: int = 50  # steps of linear rise to the learning rate, at most half of all steps; 0 for none
    schedule: str = "cosine"  # after the warm-up: cosine falls to 0, constant stays, multistep falls to a tenth at 0.7 and 0.9
    # of all steps
    gradient_clip: float = 5.0  # largest norm of the gradient of all weights together; 0 clips nothing
    checkpoint_every: int = 200  # steps between checkpoints, from which a killed run resumes
    log_every: int = 20  # steps between two lines of log.jsonl, each the mean of the losses since the line before
    trackers: list[str] = field(default_factory=lambda: ["tensorboard"])  # who shows the same figures: tensorboard, wandb and
    # mlflow, any of them; [] for none

    def __post_init__(self) -> None:
        _check_choice("schedule", self.schedule, SCHEDULES)
        for name in ("checkpoint_every", "log_every"):
            _check_range(name, getattr(self, name), getattr(self, name) >= 1, "must be at least 1")
        for name in ("weight_decay", "warmup_steps", "gradient_clip"):
            _check_range(name, getattr(self, name), 0 <= getattr(self, name) < math.inf, "must be 0 or more")
        for name in self.trackers:
            _check_choice("trackers", name, TRACKERS)
        _check_range("trackers", self.trackers, len(set(self.trackers)) == len(self.trackers), "name each once")

    def recorded(self) -> dict[str, Any]:
        """What results are recorded with: no tracker changes any, so what was trained before there was a choice stays valid."""
        return {**{key: value for key, value in asdict(self).items() if key != "trackers"}, "tensorboard": True}


@dataclass(frozen=True)
class Training:
    """How one model is trained, as `lat.engine.trainer.train` takes it.

    Attributes:
        own: what this training has of its own.
        shared: what it shares with the others of a run.
        ema_decay: decay of the exponential moving average of the weights that is saved; 0 saves the last weights.
    """

    own: TrainSettings
    shared: SharedTrainSettings = field(default_factory=SharedTrainSettings)
    ema_decay: float = 0.0

    def described(self) -> dict[str, Any]:
        """Plain values by name, for those who look at the figures."""
        shared = {key: value for key, value in asdict(self.shared).items() if key != "trackers"}
        return {**asdict(self.own), **shared, "ema_decay": self.ema_decay}

    def scaled(self, steps_share: float, learning_rate_share: float) -> Training:
        """The same for a share of its steps, at least one, and at a share of its learning rate."""
        steps = max(1, round(steps_share * self.own.steps))
        return replace(self, own=replace(self.own, steps=steps, learning_rate=learning_rate_share * self.own.learning_rate))


@dataclass(frozen=True)
class RuntimeSettings:
    """On what a run computes. None of these changes what it computes, but for rounding.

    Raises:
        InputError: if a value is out of its range.
    """

    accelerator: str = "auto"  # auto, cpu, cuda or mps; auto takes a GPU where there is one; compiled is auto, with the frozen
    # backbone compiled by torch.compile
    precision: str = "auto"  # auto (bf16-mixed on a GPU that has it, else 32-true), 32-true, tf32 (matrix products of GPUs
    # alone), 16-mixed or bf16-mixed (weights stay float32)
    upstream_parallel: str = "datasets"  # each process trains whole detectors, or batch: all train each of them together
    num_workers: int = -1  # processes that read and augment items beside each that computes; 0 for none, -1 for what the machine
    # has cores and shared memory for; the result is the same
    images_per_batch: int = 0  # images labelled at once; 0 for 4 with upstream detectors and 16 at transfer
    executor: str = "local"  # who labels and trains: local (this process, or those of torchrun or srun) or ray
    ray_workers: list[int] = field(default_factory=lambda: [1, 0])  # the fewest and the most that Ray holds; 0: as many as fit

    def __post_init__(self) -> None:
        _check_choice("accelerator", self.accelerator, ACCELERATORS)
        _check_choice("precision", self.precision, PRECISIONS)
        _check_choice("upstream_parallel", self.upstream_parallel, UPSTREAM_PARALLEL)
        _check_choice("executor", self.executor, EXECUTORS)
        workers = self.ray_workers
        is_range = len(workers) == 2 and workers[0] >= 1 and (workers[1] == 0 or workers[1] >= workers[0])
        _check_range("ray_workers", workers, is_range, "write [fewest, most], at least 1; 0 for the most is as many as fit")
        for name, least in (("num_workers", -1), ("images_per_batch", 0)):
            _check_range(name, getattr(self, name), getattr(self, name) >= least, f"must be at least {least}")

    @property
    def device_kind(self) -> str:
        """auto, cpu, cuda or mps."""
        return "auto" if self.is_compiled else self.accelerator

    @property
    def is_compiled(self) -> bool:
        """Whether the frozen backbone is compiled."""
        return self.accelerator == "compiled"

    @property
    def recorded_precision(self) -> str:
        """The precision that results are recorded with: `auto` counts as 32-true on any device, so that a run may move."""
        return "32-true" if self.precision == "auto" else self.precision


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(name, f"is '{value}'", f"choose one of {', '.join(choices)}")


def _check_range(name: str, value: object, holds: bool, rule: str) -> None:
    if not holds:
        raise InputError(name, f"is {value}", rule)
