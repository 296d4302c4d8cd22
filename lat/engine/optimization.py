"""How training updates the weights of a model: optimizer, learning rate at each step, average of the weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lat.core.errors import InputError
from lat.engine.training_settings import Training

MOMENTUM = 0.9  # of sgd
MILESTONES = (0.7, 0.9)  # of the schedule multistep, as shares of all steps


def learning_rate_at(training: Training, step: int) -> float:
    """Learning rate of the update at `step`, 0..steps - 1.

    During W warm-up steps it is (step + 1) / W of the schedule's rate; cosine then falls from the full rate at step W along
    half a cosine to 0 at step `steps`, which is never reached.
    """
    own, shared = training.own, training.shared
    warmup_steps = min(shared.warmup_steps, own.steps // 2)
    warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    if shared.schedule == "cosine":
        progress = max(0, step - warmup_steps) / (own.steps - warmup_steps)
        factor = 0.5 * (1 + math.cos(math.pi * progress))
    elif shared.schedule == "multistep":
        factor = 0.1 ** sum(step >= share * own.steps for share in MILESTONES)
    else:
        factor = 1.0
    return own.learning_rate * warmup * factor


def build_optimizer(model: nn.Module, training: Training, *, is_fused: bool = False) -> Optimizer:
    """An optimizer for the model's trainable parameters; those of fewer than two dimensions get no weight decay.

    Args:
        model: on the device on which it is trained.
        training: which optimizer, with which weight decay.
        is_fused: whether one kernel updates all parameters: faster on a GPU, and rounds otherwise. With a scaler of gradients
            the kernel itself leaves out a step whose gradients are not finite; else the program would have to ask.

    Raises:
        InputError: if the model has no trainable parameter.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise InputError(type(model).__name__, "has no trainable parameter", "leave a part of the model unfrozen")
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": training.shared.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    fused = True if is_fused else None
    if training.own.optimizer == "sgd":
        sgd = SGD(groups, lr=training.own.learning_rate, momentum=MOMENTUM, fused=fused)
        for parameter in trainable if is_fused else ():  # or a first step that is left out would leave memory as it was found
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    return AdamW(groups, lr=training.own.learning_rate, fused=fused)


def clip_gradients(optimizer: Optimizer, max_norm: float, scaler: torch.amp.GradScaler | None = None) -> Tensor:
    """Clip gradients to a total norm; return the norm () before. The program does not wait for a device.

    Args:
        optimizer: PyTorch's own, of the parameters.
        max_norm: infinity does not clip.
        scaler: that scaled the loss; the gradients are unscaled first.
    """
    if scaler is not None:
        scaler.unscale_(optimizer)  # Fabric refuses to with a fused optimizer, which PyTorch's scaler knows how to handle
    every = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return nn.utils.clip_grad_norm_(every, max_norm)


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
    return _Average(model, decay) if decay else None


class _Average(AveragedModel):
    """PyTorch's average, with an update that does not wait for a GPU."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self.average_floats = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        averaged, current = ([*one.parameters(), *one.buffers()] for one in (self.module, model))
        pairs = list(zip(averaged, current, strict=True))
        is_first = bool(self.n_averaged == 0)  # a counter on the CPU
        floats = [] if is_first else [pair for pair in pairs if pair[0].is_floating_point()]
        for one, new in pairs if is_first else [pair for pair in pairs if not pair[0].is_floating_point()]:
            one.copy_(new)
        if floats:
            self.average_floats([one for one, _ in floats], [new for _, new in floats], 0)
        self.n_averaged += 1
