"""The training loop: one for upstream, label-transfer and downstream models."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lat.core.errors import InputError
from lat.core.files import sha256_of_json
from lat.engine.checkpoint import load_checkpoint, save_checkpoint
from lat.engine.interrupts import InterruptsBetweenSteps
from lat.engine.optimization import TrainSettings, build_average, build_optimizer, learning_rate_at, set_learning_rate
from lat.engine.progress import track
from lat.engine.runtime import RuntimeSettings, build_fabric, processes_of
from lat.engine.sampling import Draw, Reserved, StepSampler, derive_seed
from lat.engine.training_log import TrainingLog

__all__ = ["NonFiniteLossError", "RuntimeSettings", "TrainItems", "TrainSettings", "build_fabric", "train"]


class TrainItems(Protocol):
    """The data of a training run."""

    def __len__(self) -> int:
        """Number of items."""
        ...

    def item(self, index: int, generator: torch.Generator) -> Any:
        """Item `index`; all that is random about it comes from `generator`, so that it is the same in any process."""
        ...

    def collate(self, items: list[Any]) -> tuple[Any, ...]:
        """The arguments of the model's `losses` for a batch of items. What has a method `to(device)` is moved."""
        ...


class NonFiniteLossError(FloatingPointError):
    """A loss, or the norm of its gradient, became NaN or infinite."""


def train(
    model: nn.Module,
    items: TrainItems,
    settings: TrainSettings,
    *,
    out_dir: Path,
    seed: int,
    title: str,
    fabric: Fabric,
    description: Mapping[str, Any],
    num_workers: int = 0,
    inputs: str = "",
    reserved: Reserved | None = None,
    result: str = "",
) -> Path:
    """Train a model, going on from `out_dir/checkpoint.pt` where an earlier run of the same configuration was stopped.

    A run that was stopped and taken up again writes the same `model.pt` and `log.jsonl`, byte for byte, as one that was
    not (on the CPU; some GPU kernels add in any order). The number of workers does not change the result either.

    Args:
        model: its method `losses(*batch)` returns scalar losses by name; their sum is minimised.
        items: the data.
        settings: how to train; `batch_size` is shared out over all processes.
        out_dir: gets `model.pt`, `log.jsonl`, `tensorboard/`, and `checkpoint.pt` while the run lasts.
        seed: decides the order of the data, the items' generators and the model's own random numbers.
        title: name of the run in the progress bar and in messages.
        fabric: from `build_fabric`.
        description: what `model.pt` holds beside the weights under "model": "kind", and plain types from which the model can
            be built again.
        num_workers: processes that read and augment items.
        inputs: a hash of what the items are made of, and of `reserved`; the checkpoint of a run on other inputs is not taken up.
        reserved: places in every batch for the first items; None where all are drawn alike.
        result: name of the submodule whose weights are the result, if it is not the whole model.

    Returns:
        The path of `model.pt`: `{**description, "model": state_dict}`, the averaged weights if `settings.ema_decay` is set.

    Raises:
        InputError: if there is no item, no trainable parameter, or the batch cannot be shared out over the processes.
        NonFiniteLossError: if a loss or a gradient is not finite; the last checkpoint stays.
        KeyboardInterrupt: on Ctrl-C or SIGTERM to any process, after a checkpoint of the last full step was written.
    """
    _check(items, settings, title, fabric)
    run = _Run(model, settings, Path(out_dir), fabric, _fingerprint(settings, seed, description, inputs, len(items), fabric))
    batches = _load_batches(items, settings, seed, run.step, num_workers, fabric, reserved)
    model.train()
    with (
        TrainingLog(run.out_dir if fabric.is_global_zero else None, step=run.step, tensorboard=settings.tensorboard) as log,
        track(settings.steps, title, done=run.step, quiet=not fabric.is_global_zero) as progress,
        InterruptsBetweenSteps() as interrupts,
    ):
        log.restore(run.log_state)
        try:
            for step, batch in enumerate(batches, start=run.step):
                run.in_step = True
                torch.manual_seed(derive_seed("step", seed, step, fabric.global_rank))
                learning_rate = set_learning_rate(run.optimizer, learning_rate_at(settings, step))
                losses = run.losses(_Batch(fabric.to_device(batch)))
                run.optimizer.zero_grad()
                fabric.backward(torch.stack([loss.float() for loss in losses.values()]).sum())
                gradient_norm = _clip_gradients(fabric, run, settings.gradient_clip)
                figures, is_stopping = _finite_figures(fabric, losses, gradient_norm, interrupts, f"{title}, step {step + 1}")
                run.optimizer.step()
                if run.average is not None:
                    run.average.update_parameters(model)
                log.add(figures)
                run.step, run.log_state, run.in_step = step + 1, log.state(), False

                progress.advance(loss=sum(figures.values()))
                if run.step % settings.log_every == 0 or run.step == settings.steps:
                    log.write_line(run.step, learning_rate)
                    run.log_state = log.state()
                if run.step % settings.checkpoint_every == 0 and run.step < settings.steps:
                    run.save()
                if is_stopping:
                    raise _StoppedError
        except KeyboardInterrupt as error:
            if not run.in_step:
                run.save()
                if isinstance(error, _StoppedError):
                    fabric.barrier()  # no process ends, and the others with it, before the checkpoint is there
            raise
    return run.finish(description, result)


class _StoppedError(KeyboardInterrupt):
    """A Ctrl-C or SIGTERM that all processes agreed upon after the same step."""


class _Run:
    """What a training run changes: weights, optimizer, average, number of full steps; and their checkpoint."""

    def __init__(self, model: nn.Module, settings: TrainSettings, out_dir: Path, fabric: Fabric, fingerprint: str) -> None:
        self.model, self.out_dir, self.fabric, self.fingerprint = model, out_dir, fabric, fingerprint
        self.processes = processes_of(fabric)
        self.losses, self.optimizer = fabric.setup(_Losses(model), build_optimizer(model, settings))
        self.average = build_average(model, settings.ema_decay)
        self.step = 0
        self.in_step = False  # weights or statistics may be half changed
        self.log_state: dict[str, Any] = {"sums": {}, "count": 0}
        self._resume()

    @property
    def checkpoint_path(self) -> Path:
        return self.out_dir / "checkpoint.pt"

    def _resume(self) -> None:
        saved = self.processes.from_first(self._load)
        if saved is None:
            return
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.fabric.strategy.precision.load_state_dict(saved["precision"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        self.step, self.log_state = saved["step"], saved["log"]

    def _load(self) -> dict[str, Any] | None:
        """The checkpoint of an earlier run of the same configuration, if there is one."""
        if not self.checkpoint_path.is_file():
            return None
        saved = load_checkpoint(self.checkpoint_path, "training_run")
        if saved["fingerprint"] == self.fingerprint:
            return saved
        print(f"{self.checkpoint_path}: of another configuration or other inputs, starting anew", file=sys.stderr)
        return None

    def save(self) -> None:
        """Write the checkpoint from which the run can be taken up after `step` full steps."""
        if self.fabric.is_global_zero:
            content = {
                "kind": "training_run",
                "fingerprint": self.fingerprint,
                "step": self.step,
                "model": self.model.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),
                "log": self.log_state,
            }
            save_checkpoint(self.checkpoint_path, content)

    def finish(self, description: Mapping[str, Any], result: str) -> Path:
        """Write `model.pt`, then take the checkpoint away."""
        path = self.out_dir / "model.pt"
        if self.fabric.is_global_zero:
            model = self.model if self.average is None else self.average.module
            save_checkpoint(path, {**description, "model": model.get_submodule(result).state_dict()})
            self.checkpoint_path.unlink(missing_ok=True)
        self.processes.settle([path] if self.fabric.is_global_zero else [])
        return path


class _Batch:
    """A batch that passes through Fabric and DDP as it is.

    Under mixed precision Fabric would turn every float tensor among the arguments into 16 bits: box coordinates above 256
    would lose whole pixels, and frozen structures cannot be rebuilt. Autocast alone decides what is computed in 16 bits.
    """

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = parts


class _Losses(nn.Module):
    """The `losses` of a model as a forward pass, the one entry at which Fabric sets precision and DDP gathers gradients."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: _Batch) -> dict[str, Tensor]:
        return self.model.losses(*batch.parts)  # type: ignore[operator]


class _DrawnItems(Dataset[Any]):
    """Items by draw instead of by index."""

    def __init__(self, items: TrainItems) -> None:
        self.items = items

    def __getitem__(self, draw: Draw) -> Any:
        return self.items.item(draw.item_index, torch.Generator().manual_seed(draw.item_seed))


def _check(items: TrainItems, settings: TrainSettings, title: str, fabric: Fabric) -> None:
    if not len(items):
        raise InputError(title, "there is nothing to train on", "check the dataset with `lat check`")
    if settings.batch_size % fabric.world_size:
        remedy = f"make it a multiple of {fabric.world_size}"
        raise InputError("train.batch_size", f"is {settings.batch_size} for {fabric.world_size} processes", remedy)


def _fingerprint(
    settings: TrainSettings, seed: int, description: Mapping[str, Any], inputs: str, num_items: int, fabric: Fabric
) -> str:
    """What must be the same for a checkpoint to be taken up; the number of processes and of workers may differ."""
    chosen = {name: value for name, value in asdict(settings).items() if name not in ("checkpoint_every", "tensorboard")}
    precision = getattr(fabric.strategy.precision, "precision", "32-true")
    return sha256_of_json([chosen, seed, dict(description), inputs, num_items, precision])


def _load_batches(
    items: TrainItems,
    settings: TrainSettings,
    seed: int,
    start: int,
    num_workers: int,
    fabric: Fabric,
    reserved: Reserved | None,
) -> DataLoader[Any]:
    sampler = StepSampler(
        len(items),
        settings.batch_size,
        seed,
        reserved=reserved,
        start=start,
        steps=settings.steps,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    return DataLoader(
        _DrawnItems(items),
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=items.collate,
        pin_memory=fabric.device.type == "cuda",
        generator=torch.Generator().manual_seed(derive_seed("workers", seed)),
    )


def _clip_gradients(fabric: Fabric, run: _Run, limit: float) -> Tensor:
    """Scale all gradients so that their common norm is at most `limit` (0 for no limit); returns the norm before."""
    norm = fabric.clip_gradients(run.losses, run.optimizer, max_norm=limit or math.inf, error_if_nonfinite=False)
    assert norm is not None
    return norm


def _finite_figures(
    fabric: Fabric, losses: Mapping[str, Tensor], gradient_norm: Tensor, interrupts: InterruptsBetweenSteps, where: str
) -> tuple[dict[str, float], bool]:
    """The losses as numbers, means over all processes, and whether any of these has been asked to stop.

    With a gradient scaler (16-mixed) an infinite gradient is usual and its step is left out; otherwise it is an error too,
    before it can reach the weights and a checkpoint.

    Raises:
        NonFiniteLossError: naming every loss with its value.
    """
    asked = torch.tensor(float(interrupts.asked), device=gradient_norm.device)
    stacked = torch.stack([*(loss.detach().float() for loss in losses.values()), gradient_norm.float(), asked])
    if fabric.world_size > 1:
        stacked = fabric.all_reduce(stacked, reduce_op="mean")  # type: ignore[assignment]
    *values, norm, share_asked = stacked.tolist()
    figures = dict(zip(losses, values, strict=True))
    scaled = getattr(fabric.strategy.precision, "scaler", None) is not None
    if all(map(math.isfinite, values)) and (scaled or math.isfinite(norm)):
        return figures, share_asked > 0
    parts = ", ".join(f"{name} = {value:.6g}" for name, value in [*figures.items(), ("gradient norm", norm)])
    remedy = "lower the learning rate, warm up longer or clip gradients harder, and look at the boxes of the data"
    raise NonFiniteLossError(f"{where}: the loss is not finite ({parts}); {remedy}; the last checkpoint was kept")
