"""The training loop: one for upstream, label-transfer and downstream models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lat.core.errors import InputError
from lat.core.files import sha256_of_json
from lat.engine.interrupts import InterruptsBetweenSteps
from lat.engine.optimization import clip_gradients, learning_rate_at, set_learning_rate
from lat.engine.progress import track
from lat.engine.reading import BATCHES_AHEAD
from lat.engine.runtime import gradient_scaler
from lat.engine.sampling import Draw, Group, Reserved, StepSampler, derive_seed
from lat.engine.step_figures import StepFigures
from lat.engine.tracked_run import TrackedRun
from lat.engine.training_log import TrainingLog
from lat.engine.training_settings import Training, check_batch_size
from lat.engine.training_state import Batch, TrainingState

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class TrainItems(Protocol):
    """The data of a training run."""

    def __len__(self) -> int:
        """Number of items."""
        ...

    def item(self, index: int, generator: torch.Generator) -> Any:
        """Item `index`; all randomness comes from `generator`, so that it is the same in any process."""
        ...

    def collate(self, items: list[Any]) -> tuple[Any, ...]:
        """The arguments of the model's `losses` for a batch of items. Anything with a method `to(device)` is moved."""
        ...


@dataclass(frozen=True)
class TrainJob:
    """One training: its title, its output, and what identifies it.

    Attributes:
        title: name in the progress bar and in messages.
        out_dir: gets `model.pt`, `log.jsonl`, what trackers need, and, during training, `checkpoint.pt`.
        seed: decides the order of the data, the items' generators and the model's own random numbers.
        description: saved in `model.pt` next to the weights under "model": "kind", and plain types from which the model can
            be rebuilt.
        inputs: a hash of what the items are made of, of `reserved` and of `groups`; a checkpoint of other inputs is not resumed.
        reserved: places in every batch for the first items; None reserves none.
        groups: the groups that all items form, and how often each is drawn from; empty draws all items alike.
        result: name of the submodule whose weights are the result, if it is not the whole model.
        section: the section of the configuration whose `training` it has, to be named in errors.
        num_workers: processes that read and augment items; they do not change the result.
        complete: what the main process does to each batch before it goes to the device, such as a frozen backbone's part.
        tracked: what trackers call it; None for its title.
    """

    title: str
    out_dir: Path
    seed: int
    description: Mapping[str, Any]
    inputs: str = ""
    reserved: Reserved | None = None
    groups: tuple[Group, ...] = ()
    result: str = ""
    num_workers: int = 0
    section: str = ""
    complete: Callable[[Any], Any] | None = None
    tracked: TrackedRun | None = None


def train(model: nn.Module, items: TrainItems, training: Training, job: TrainJob, fabric: Fabric) -> Path:
    """Train a model, resuming from `checkpoint.pt` if an earlier training with the same configuration was interrupted.

    A resumed training writes the same `model.pt` and `log.jsonl`, byte for byte, as an uninterrupted one (on the CPU; some GPU
    kernels add in any order).

    Args:
        model: its method `losses(*batch)` returns scalar losses by name; their sum is minimised.
        items: the data.
        training: how to train; its batch size is shared out over all processes.
        job: which training this is.
        fabric: from `build_fabric`.

    Returns:
        The path of `model.pt`: `{**job.description, "model": state_dict}`, the averaged weights if `training.ema_decay` is set.

    Raises:
        InputError: if there is no item, no trainable parameter, or the batch cannot be divided over the processes.
        NonFiniteLossError: if a loss or a gradient is not finite; the last checkpoint is kept. A GPU is asked some steps later.
        KeyboardInterrupt: on Ctrl-C or SIGTERM to any process, after writing a checkpoint of the last full step.
    """
    own, shared = training.own, training.shared
    _check(items, training, job, fabric)
    fingerprint = _fingerprint(training, job, len(items), fabric)
    state = TrainingState(model, training, Path(job.out_dir), fabric, fingerprint)
    batches = _load_batches(items, training, job, state.step, fabric)
    model.train()
    with (
        _training_log(state, training, job) as log,
        track(own.steps, job.title, done=state.step, quiet=not fabric.is_global_zero) as progress,
        InterruptsBetweenSteps() as interrupts,
    ):
        log.restore(state.log_state)
        figures = StepFigures(fabric, job.title, job.section)
        try:
            for step, batch in enumerate(batches, start=state.step):
                state.in_step = True
                torch.manual_seed(derive_seed("step", job.seed, step, fabric.global_rank))
                learning_rate = set_learning_rate(state.optimizer, learning_rate_at(training, step))
                completed = batch if job.complete is None else job.complete(batch)
                figures.add(step, *_backward(state, completed, shared.gradient_clip))
                is_line, is_saved = _is_logged(training, step), _is_saved(training, step)
                known = figures.read_if_due(step, now=is_line or is_saved, asked=interrupts.asked)
                state.update(step, log, known.figures)
                progress.advance(1, **known.latest)
                if is_line:
                    log.write_line(state.step, learning_rate)
                    state.log_state = log.state()
                if is_saved:
                    state.save()
                if known.is_stopping:
                    raise _StoppedError
        except KeyboardInterrupt as error:
            _save_at_the_end(state, log, figures)
            if isinstance(error, _StoppedError):
                fabric.barrier()  # the end of one process ends the others: wait for the checkpoint
            raise
        except Exception:
            figures.check_own()
            raise
    return state.finish(job.description, job.result)


def _training_log(state: TrainingState, training: Training, job: TrainJob) -> TrainingLog:
    """The log of the first process; the others have one that writes nothing."""
    run = job.tracked or TrackedRun(state.out_dir, state.out_dir.name, job.title)
    run = replace(run, settings={**training.described(), "seed": job.seed})
    out_dir = state.out_dir if state.fabric.is_global_zero else None
    return TrainingLog(out_dir, step=state.step, trackers=training.shared.trackers, run=run)


def _is_logged(training: Training, step: int) -> bool:
    return (step + 1) % training.shared.log_every == 0 or step + 1 == training.own.steps


def _is_saved(training: Training, step: int) -> bool:
    return (step + 1) % training.shared.checkpoint_every == 0 and step + 1 < training.own.steps


def _save_at_the_end(state: TrainingState, log: TrainingLog, figures: StepFigures) -> None:
    """Write a checkpoint of the last full step; not if others would have to tell the losses since the last reading."""
    if state.in_step or (len(figures) and state.fabric.world_size > 1):
        return
    if len(figures):
        state.note(log, figures.read(asked=True).figures)
    state.save()


class _StoppedError(KeyboardInterrupt):
    """A Ctrl-C or SIGTERM that all processes act on after the same step."""


class _DrawnItems(Dataset[Any]):
    """Items by draw instead of by index."""

    def __init__(self, items: TrainItems) -> None:
        self.items = items

    def __getitem__(self, draw: Draw) -> Any:
        return self.items.item(draw.item_index, torch.Generator().manual_seed(draw.item_seed))


def _check(items: TrainItems, training: Training, job: TrainJob, fabric: Fabric) -> None:
    if not len(items):
        raise InputError(job.title, "there is nothing to train on", "check the dataset with `lat check`")
    check_batch_size(job.section, training.own.batch_size, fabric.world_size)


def _fingerprint(training: Training, job: TrainJob, num_items: int, fabric: Fabric) -> str:
    """What must match for a checkpoint to be resumed; the numbers of processes and workers may differ."""
    chosen = asdict(training)
    for name in ("checkpoint_every", "trackers"):
        del chosen["shared"][name]
    precision = "32-true" if gradient_scaler(fabric) is None else "16-mixed"  # any other has no state: training may move to a GPU
    return sha256_of_json([chosen, job.seed, dict(job.description), job.inputs, num_items, precision])


def _load_batches(items: TrainItems, training: Training, job: TrainJob, start: int, fabric: Fabric) -> DataLoader[Any]:
    steps, process = range(start, training.own.steps), (fabric.global_rank, fabric.world_size)
    return DataLoader(
        _DrawnItems(items),
        batch_sampler=StepSampler(job.groups or len(items), training.own.batch_size, job.seed, steps, job.reserved, process),
        num_workers=job.num_workers,
        prefetch_factor=BATCHES_AHEAD if job.num_workers else None,
        collate_fn=items.collate,
        pin_memory=fabric.device.type == "cuda",
        generator=torch.Generator().manual_seed(derive_seed("workers", job.seed)),
    )


def _backward(state: TrainingState, batch: tuple[Any, ...], clip: float) -> tuple[dict[str, Tensor], Tensor]:
    """Compute gradients, clipped to a total norm of `clip` (0 for none); return the losses by name and the unclipped norm."""
    fabric = state.fabric
    losses = state.losses(Batch(fabric.to_device(batch)))
    state.optimizer.zero_grad()
    fabric.backward(torch.stack([loss.float() for loss in losses.values()]).sum())
    return losses, clip_gradients(state.optimizer.optimizer, clip or math.inf, gradient_scaler(fabric))
