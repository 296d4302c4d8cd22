"""The state of a training, and its checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lat.engine.checkpoint import load_checkpoint, save_checkpoint
from lat.engine.optimization import build_average, build_optimizer
from lat.engine.runtime import laid_out, processes_of
from lat.engine.training_log import TrainingLog
from lat.engine.training_settings import Training

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class TrainingState:
    """The state of a training (weights, optimizer, average, number of full steps) and its checkpoint."""

    def __init__(self, model: nn.Module, training: Training, out_dir: Path, fabric: Fabric, fingerprint: str) -> None:
        self.model, self.out_dir, self.fabric, self.fingerprint = model, out_dir, fabric, fingerprint
        self.processes = processes_of(fabric)
        optimizer = build_optimizer(laid_out(model, fabric.device), training, is_fused=fabric.device.type == "cuda")
        self.losses, self.optimizer = fabric.setup(_Losses(model), optimizer)
        self.average = build_average(model, training.ema_decay)
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
        for group, own in zip(saved["optimizer"]["param_groups"], self.optimizer.param_groups, strict=True):
            group["fused"] = own["fused"]  # the checkpoint may be from another device
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
        print(f"{self.checkpoint_path}: made with another configuration or other inputs, starting over", file=sys.stderr)
        return None

    def save(self) -> None:
        """Write the checkpoint from which the run can resume after `step` full steps."""
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

    def update(self, step: int, log: TrainingLog, figures: Sequence[Mapping[str, float]]) -> None:
        """Update the weights by the gradients of `step`, then the average; `figures` are the losses known by now."""
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.note(log, figures)
        self.step, self.in_step = step + 1, False

    def note(self, log: TrainingLog, figures: Sequence[Mapping[str, float]]) -> None:
        """Put the losses of some steps into the log."""
        for of_step in figures:
            log.add(of_step)
        self.log_state = log.state()

    def finish(self, description: Mapping[str, Any], result: str) -> Path:
        """Write `model.pt`, then remove the checkpoint."""
        path = self.out_dir / "model.pt"
        if self.fabric.is_global_zero:
            model = self.model if self.average is None else self.average.module
            save_checkpoint(path, {**description, "model": model.get_submodule(result).state_dict()})
            self.checkpoint_path.unlink(missing_ok=True)
        self.processes.settle([path] if self.fabric.is_global_zero else [])
        return path


class Batch:
    """A batch that passes through Fabric and DDP unchanged.

    Under mixed precision Fabric would convert every float tensor among the arguments to 16 bits: box coordinates above 256
    would lose whole pixels, and frozen structures cannot be rebuilt. Autocast alone decides what is computed in 16 bits.
    """

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = parts


class _Losses(nn.Module):
    """The `losses` of a model as a forward pass, where Fabric sets the precision and DDP gathers gradients."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        result: dict[str, Tensor] = self.model.losses(*batch.parts)  # type: ignore[operator]
        return result
