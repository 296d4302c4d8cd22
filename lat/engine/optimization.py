"""How training updates the weights of a model: optimizer, learning rate at each step, average of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lat.core.errors import InputError

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("cosine", "constant", "multistep")


@dataclass(frozen=True)
class TrainSettings:
    """How a model is trained; the same settings serve upstream, label-transfer and downstream models.

    Raises:
        InputError: if a value is out of its range.
    """

    steps: int = 500  # updates of the weights
    batch_size: int = 8  # images of one step, over all devices together
    optimizer: str = "adamw"  # adamw or sgd
    learning_rate: float = 1e-3  # highest learning rate, reached after the warm-up
    weight_decay: float = 1e-4  # on weights of two or more dimensions; never on norms and biases
    momentum: float = 0.9  # of sgd
    warmup_steps: int = 50  # steps of linear rise to the learning rate, at most half of all steps; 0 for none
    schedule: str = "cosine"  # after the warm-up: cosine falls to 0, constant stays, multistep falls to a tenth at each milestone
    milestones: list[float] = field(default_factory=lambda: [0.7, 0.9])  # of multistep, as shares of all steps, rising
    gradient_clip: float = 5.0  # largest norm of the gradient of all weights together; 0 for no limit
    ema_decay: float = 0.0  # decay of the exponential moving average of the weights that is saved; 0 saves the last weights
    checkpoint_every: int = 200  # steps between two checkpoints, from which a killed run goes on
    log_every: int = 20  # steps between two lines of log.jsonl, each the mean of the losses since the line before
    tensorboard: bool = True  # write the same figures for TensorBoard

    def __post_init__(self) -> None:
        for name, value, choices in (("optimizer", self.optimizer, OPTIMIZERS), ("schedule", self.schedule, SCHEDULES)):
            if value not in choices:
                raise InputError(f"training.{name}", f"is '{value}'", f"choose one of {', '.join(choices)}")
        for name in ("steps", "batch_size", "checkpoint_every", "log_every"):
            _check_range(name, getattr(self, name), getattr(self, name) >= 1, "must be at least 1")
        for name in ("weight_decay", "warmup_steps", "gradient_clip"):
            _check_range(name, getattr(self, name), 0 <= getattr(self, name) < math.inf, "must be 0 or more")
        for name in ("momentum", "ema_decay"):
            _check_range(name, getattr(self, name), 0 <= getattr(self, name) < 1, "must be 0 or more and below 1")
        _check_range("learning_rate", self.learning_rate, 0 < self.learning_rate < math.inf, "must be above 0")
        rising = list(self.milestones) == sorted(set(self.milestones)) and all(0 < share < 1 for share in self.milestones)
        _check_range("milestones", list(self.milestones), rising, "must be shares between 0 and 1, each above the one before")


def _check_range(name: str, value: object, holds: bool, rule: str) -> None:
    if not holds:
        raise InputError(f"training.{name}", f"is {value}", rule)


def learning_rate_at(settings: TrainSettings, step: int) -> float:
    """Learning rate of the update at `step`, 0..steps - 1.

    During W warm-up steps it is (step + 1) / W of the schedule's rate; cosine then falls from the full rate at step W along
    half a cosine to 0 at step `steps`, which is never reached.
    """
    warmup_steps = min(settings.warmup_steps, settings.steps // 2)
    warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    if settings.schedule == "cosine":
        progress = max(0, step - warmup_steps) / (settings.steps - warmup_steps)
        factor = 0.5 * (1 + math.cos(math.pi * progress))
    elif settings.schedule == "multistep":
        factor = 0.1 ** sum(step >= share * settings.steps for share in settings.milestones)
    else:
        factor = 1.0
    return settings.learning_rate * warmup * factor


def build_optimizer(model: nn.Module, settings: TrainSettings) -> Optimizer:
    """An optimizer for the model's trainable parameters; those of fewer than two dimensions get no weight decay.

    Raises:
        InputError: if the model has no trainable parameter.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise InputError(type(model).__name__, "has no trainable parameter", "leave a part of the model unfrozen")
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)
    return AdamW(groups, lr=settings.learning_rate)


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> float:
    """Set the learning rate of every parameter group and return it."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    return learning_rate


def build_average(model: nn.Module, decay: float) -> AveragedModel | None:
    """An exponential moving average of the model's parameters and buffers, or None for a decay of 0.

    It starts as a copy of the model's weights after the first step. Integer buffers (counters, index tables) are copied,
    because an average would round them down.
    """
    if not decay:
        return None
    average_floats = get_ema_multi_avg_fn(decay)

    def average(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            average_floats(averaged, current, count)
        else:
            torch._foreach_copy_(averaged, current)

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)  # type: ignore[arg-type]
