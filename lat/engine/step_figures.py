"""The losses of training steps on their way from the device to the log, and whether they are numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lat.engine.runtime import gradient_scaler

if TYPE_CHECKING:
    from lightning_fabric import Fabric

STEPS_BETWEEN_READS = 10  # on a device, unless a line of the log or a checkpoint comes before


class NonFiniteLossError(FloatingPointError):
    """A loss, or the norm of its gradient, became NaN or infinite."""


@dataclass(frozen=True)
class Read:
    """What the processes know after a reading.

    Attributes:
        figures: the losses by name of each step since the reading before, averaged over all processes.
        is_stopping: whether any process was asked to stop.
    """

    figures: Sequence[Mapping[str, float]] = ()
    is_stopping: bool = False

    @property
    def latest(self) -> dict[str, float]:
        """The loss of the latest step, if one was read."""
        return {"loss": sum(self.figures[-1].values())} if self.figures else {}


class StepFigures:
    """Keeps the losses of steps where they were computed, and reads those of several steps at once.

    A number that is read from a GPU keeps the program waiting until the step is computed, and the GPU idle until the next one is
    given to it. A CPU, which has computed the step already, is read after each.

    Args:
        fabric: of the training.
        title: of the training, for errors.
        section: the section of the configuration whose `training` it has, for errors; empty for none.
    """

    def __init__(self, fabric: Fabric, title: str, section: str) -> None:
        self.fabric, self.title, self.section = fabric, title, section
        self.steps_between = steps_between_reads(fabric.device)
        self._names: list[tuple[str, ...]] = []
        self._values: list[Tensor] = []
        self._first_step = 0

    def __len__(self) -> int:
        """Steps that have not been read."""
        return len(self._values)

    def add(self, step: int, losses: Mapping[str, Tensor], gradient_norm: Tensor) -> None:
        """Keep the losses of a step and the norm of its gradient."""
        if not self._values:
            self._first_step = step
        self._names.append(tuple(losses))
        self._values.append(torch.stack([*(loss.detach().float() for loss in losses.values()), gradient_norm.float()]))

    def read_if_due(self, step: int, *, now: bool, asked: bool) -> Read:
        """`read` after this step if it is time, or `now`; if asked to stop, which others cannot know, at once if it is alone."""
        is_due = now or (step + 1) % self.steps_between == 0 or (asked and self.fabric.world_size == 1)
        return self.read(asked=asked) if is_due else Read()

    def read(self, *, asked: bool) -> Read:
        """Read all steps that are kept; all processes must, with whether they were asked to stop.

        With a gradient scaler (16-mixed) an infinite gradient is normal and its step is skipped; otherwise it is an error too,
        before it can reach a checkpoint, and on a CPU before it can reach the weights.

        Raises:
            NonFiniteLossError: of the first such step, naming every loss with its value, and the settings to change; unchanged,
                the same command would meet the same draws again.
        """
        values = self._values[0] if len(self) == 1 else torch.cat(self._values)
        if self.fabric.world_size == 1:
            return Read(self._checked(values.tolist()), asked)
        values = torch.cat([values, torch.full_like(values[:1], asked)])  # which does not wait for a GPU
        *numbers, share_asked = self.fabric.all_reduce(values, reduce_op="mean").tolist()  # type: ignore[union-attr]
        return Read(self._checked(numbers), share_asked > 0)

    def check_own(self) -> None:
        """Raise as `read` does for what this process keeps; whatever went wrong since may be its effect."""
        if self._values:
            self._checked(torch.cat(self._values).tolist())

    def _checked(self, numbers: list[float]) -> list[dict[str, float]]:
        """The losses of each step, from all numbers; nothing is kept any more."""
        found, place = [], 0
        names, self._names, self._values = self._names, [], []
        for step, of_step in enumerate(names, start=self._first_step):
            losses = dict(zip(of_step, numbers[place:], strict=False))
            place += len(of_step) + 1
            self._check(step, losses, numbers[place - 1])
            found.append(losses)
        return found

    def _check(self, step: int, losses: Mapping[str, float], norm: float) -> None:
        scaled = gradient_scaler(self.fabric) is not None
        if all(map(math.isfinite, losses.values())) and (scaled or math.isfinite(norm)):
            return
        parts = ", ".join(f"{name} = {value:.6g}" for name, value in [*losses.items(), ("gradient norm", norm)])
        rate = f"{self.section}.training.learning_rate" if self.section else "learning_rate"
        remedy = f"lower {rate}, raise training.warmup_steps or lower training.gradient_clip, and check the boxes of the data"
        what = f"{self.title}, step {step + 1}: the loss is not finite ({parts}); {remedy}; the checkpoint was kept"
        raise NonFiniteLossError(what)


def steps_between_reads(device: torch.device) -> int:
    """After how many steps losses are read from a device."""
    return 1 if device.type == "cpu" else STEPS_BETWEEN_READS
