"""Turn a training counted in steps into calls of ultralytics' trainer, which counts in epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lat.detectors.detector_settings import YoloSettings
from lat.detectors.ultralytics.yolo_detector import KEPT
from lat.engine.optimization import MOMENTUM
from lat.engine.training_settings import Training

LAST_RATE = 0.01
"""Share of the learning rate that a cosine schedule ends at."""


@dataclass(frozen=True)
class Phase:
    """One call of ultralytics' trainer.

    Attributes:
        name: mixed or target.
        images: number of images per epoch, repeats counted.
        epochs: at least 1.
        first_rate: learning rate after the warm-up.
        last_rate: learning rate at the end.
        warmup_epochs: epochs of linear warm-up to the first rate.
    """

    name: str
    images: int
    epochs: int
    first_rate: float
    last_rate: float
    warmup_epochs: float = 0.0


def plan_phases(images: Sequence[int], training: Training, target_only_share: float, repeat: int) -> list[Phase]:
    """The phases of a training with their epochs and learning rates.

    Both phases follow one cosine: the second starts at the rate at which the first ends.

    Args:
        images: number of images of each dataset, the target first.
        training: steps and learning rate.
        target_only_share: share of the steps on the target alone.
        repeat: how often the first phase repeats each image of the target.
    """
    listed = {"mixed": repeat * images[0] + sum(images[1:]), "target": images[0]}
    shares = {"mixed": 1.0 - target_only_share, "target": target_only_share}
    phases: list[Phase] = []
    done = 0.0
    for name, share in shares.items():
        if share <= 0:
            continue
        epochs = max(1, math.ceil(share * training.own.steps * training.own.batch_size / listed[name]))
        warmup_steps = 0 if phases else min(training.shared.warmup_steps, training.own.steps // 2)
        first, last = _rate_at(training, done), _rate_at(training, done + share)
        warmup_epochs = warmup_steps / math.ceil(listed[name] / training.own.batch_size)
        phases.append(Phase(name, listed[name], epochs, first, last, warmup_epochs))
        done += share
    return phases


def _rate_at(training: Training, progress: float) -> float:
    """The learning rate after a share of all steps, ignoring the warm-up."""
    if training.shared.schedule == "constant":
        return training.own.learning_rate
    return training.own.learning_rate * (LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * progress)) / 2)


def trainer_options(phase: Phase, settings: YoloSettings, training: Training, work: Path) -> dict[str, Any]:
    """The options of a phase under ultralytics' names."""
    return {
        "task": "detect",
        "data": str(work / "data" / f"{phase.name}.yaml"),
        "save_dir": str(work / phase.name),
        "epochs": phase.epochs,
        "batch": training.own.batch_size,
        "nbs": training.own.batch_size,  # one update per batch, and weight decay as given
        "imgsz": settings.image_size,
        "optimizer": {"adamw": "AdamW", "sgd": "SGD"}[training.own.optimizer],
        "lr0": phase.first_rate,
        "lrf": phase.last_rate / phase.first_rate,
        "cos_lr": training.shared.schedule == "cosine",
        "momentum": MOMENTUM,
        "weight_decay": training.shared.weight_decay,
        "warmup_epochs": phase.warmup_epochs,
        "warmup_bias_lr": 0.0,
        "warmup_momentum": MOMENTUM,
        "mosaic": 1.0,  # every image, but for the last tenth
        "close_mosaic": round(phase.epochs / 10),
        "max_det": KEPT.max_detections,
        "amp": False,  # ultralytics downloads a small model to see whether 16 bits work
        "deterministic": True,
        "val": False,
        "plots": False,
        "patience": 0,
        "verbose": False,
    }
