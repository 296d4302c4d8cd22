"""About how long a run takes, from numbers of images, steps and image sizes.

Costs of a CPU were measured on one core of the reference machine. Those of a GPU are what Detectron2's model zoo states for a
Faster R-CNN with ResNet-50 on a V100, and guesses in proportion for the others: no GPU has been measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from lat.config.load import Config
from lat.core.errors import InputError
from lat.data.dataset import DetectionDataset
from lat.detectors.detector_settings import DetectorSettings
from lat.engine.machine import Machine, this_machine
from lat.models.model_settings import DINOV2_MODELS

if TYPE_CHECKING:
    from lat.workspace.workspace import Workspace

CORES_POWER = 0.6  # two cores are 1.5 times as fast as one, sixteen 5 times


@dataclass(frozen=True)
class Cost:
    """Seconds of one image: some for each, and some for each million pixels."""

    per_image: float
    per_megapixel: float

    def of(self, megapixels: float) -> float:
        return self.per_image + self.per_megapixel * megapixels


@dataclass(frozen=True)
class Costs:
    """What one core, or a GPU, needs.

    Attributes:
        training, detecting: of a detector, by its backbone; other backbones count as resnet50.
        features: of a frozen backbone, by the letter of DINOv2 in its name; others count as "".
        learning: of an image in label-transfer training, from cached features.
    """

    training: Mapping[str, Cost]
    detecting: Mapping[str, Cost]
    features: Mapping[str, Cost]
    learning: float


CPU = Costs(
    {"small": Cost(0.015, 1.4), "efficientnet_lite0": Cost(0.03, 2.6), "resnet50": Cost(1.2, 21.0)},
    {"small": Cost(0.01, 0.24), "efficientnet_lite0": Cost(0.012, 0.52), "resnet50": Cost(0.13, 16.0)},
    {"": Cost(0.0, 0.3), "s": Cost(0.0, 4.0), "b": Cost(0.0, 15.0), "l": Cost(0.0, 50.0), "g": Cost(0.0, 180.0)},
    0.012,
)
GPU = Costs(
    {"small": Cost(0.004, 0.03), "efficientnet_lite0": Cost(0.004, 0.04), "resnet50": Cost(0.005, 0.1)},
    {"small": Cost(0.002, 0.01), "efficientnet_lite0": Cost(0.002, 0.015), "resnet50": Cost(0.003, 0.04)},
    {"": Cost(0.0, 0.01), "s": Cost(0.0, 0.02), "b": Cost(0.0, 0.05), "l": Cost(0.0, 0.15), "g": Cost(0.0, 0.5)},
    0.002,
)
TRANSFERRING, JUDGING = 0.012, 0.008  # seconds of one core per image and target: labels, then evaluation and report


@dataclass(frozen=True)
class Counted:
    """What is read of one dataset: its images, and the height and width of the one in the middle."""

    train: int
    held_out: int
    size_hw: tuple[int, int]

    @classmethod
    def of(cls, train: DetectionDataset, held_out: DetectionDataset | None) -> Counted:
        height, width = np.median(train.labels.sizes_hw, axis=0).astype(int).tolist()
        return cls(len(train), 0 if held_out is None else len(held_out), (height, width))

    def megapixels(self, image_size: int, longest: int = 1333) -> float:
        """Millions of pixels of an image whose shorter side is resized to `image_size`; 0 keeps its size."""
        short, long = sorted(self.size_hw)
        scale = min(image_size / short, longest / long) if image_size else 1.0
        return short * long * scale**2 / 1e6


def estimate(config: Config, counted: Mapping[str, Counted], machine: Machine) -> dict[str, float]:
    """Seconds of each stage of `lat run` from the beginning, in order.

    Args:
        config: the settings; label sets and filters are left out of account.
        counted: each dataset by name.
        machine: what it runs on.
    """
    run = _Run(config, counted, machine)
    stages = {
        "upstream training": run.upstream(),
        "pseudo-labels": run.pseudo_labels(),
        "label-transfer training": run.label_transfer(),
        "transfer": run.pairs() * run.rounds * TRANSFERRING / run.cpu_speed,
        "downstream training": run.downstream(),
        "evaluation and report": run.pairs() * JUDGING / run.cpu_speed,
    }
    return {name: seconds for name, seconds in stages.items() if seconds}


@dataclass(frozen=True)
class _Run:
    config: Config
    counted: Mapping[str, Counted]
    machine: Machine

    @property
    def cpu_speed(self) -> float:
        return self.machine.speed * float(self.machine.cores**CORES_POWER)

    @property
    def rounds(self) -> int:
        return self.config.rounds.count + 1

    @property
    def costs(self) -> Costs:
        return GPU if self.on_gpu else CPU

    @property
    def on_gpu(self) -> bool:
        return self.machine.gpu_gib > 0 and self.config.runtime.accelerator != "cpu"

    @property
    def speed(self) -> float:
        return 1.0 if self.on_gpu else self.cpu_speed

    def upstream(self) -> float:
        total = 0.0
        for name, one in self.counted.items():
            further = self.config.rounds.count * self.config.rounds.steps_share if name in self.config.target_names else 0.0
            for member in self.config.upstream.all_members[: self.config.num_members(name)]:
                images = (1 + further) * member.training.steps * member.training.batch_size
                total += images * self._cost(self.costs.training, member.model, one)
                total += one.held_out * self._cost(self.costs.detecting, member.model, one)
        return total / self.speed

    def pseudo_labels(self) -> float:
        """Every image in all other spaces, held-out images of targets in all; later rounds in those of targets alone."""
        targets, sides = self.config.target_names, 1 + self.config.pseudo_label.mirrored
        passes = sides * sum(scale**2 for scale in self.config.detected_scales)
        total = 0.0
        for name, one in self.counted.items():
            for space in self.counted:
                times = self.rounds if space in targets else 1
                images = (one.train if space != name else 0) + (one.held_out if name in targets else 0)
                for member in self.config.upstream.all_members[: self.config.num_members(space)]:
                    total += times * images * passes * self._cost(self.costs.detecting, member.model, one)
        return total / self.speed

    def label_transfer(self) -> float:
        settings = self.config.lat
        backbone = settings.backbone
        letter = backbone.name.removeprefix("dinov2_vit")[0] if backbone.name in DINOV2_MODELS else ""
        image_size = backbone.image_size or (self.config.upstream.model.image_size if backbone.name == "upstream" else 0)
        cost = self.costs.features[letter]
        feature = {name: cost.of(one.megapixels(image_size)) for name, one in self.counted.items()}
        learnt = settings.training.steps * settings.training.batch_size
        again = learnt * fmean(feature.values()) if backbone.cache == "none" else 0.0
        once = sum((one.train + one.held_out) * feature[name] for name, one in self.counted.items())
        return self.rounds * (once + again + learnt * self.costs.learning) / self.speed

    def downstream(self) -> float:
        settings = self.config.downstream
        if not settings.in_run:
            return 0.0
        images = len(self.config.target_names) * settings.training.steps * settings.training.batch_size
        return images * fmean(self._cost(self.costs.training, settings.model, one) for one in self.counted.values()) / self.speed

    def pairs(self) -> int:
        """Images to be labelled, once for each target."""
        return sum(one.train for name, one in self.counted.items() for target in self.config.target_names if target != name)

    @staticmethod
    def _cost(costs: Mapping[str, Cost], model: DetectorSettings, one: Counted) -> float:
        backbone = model.backbone if model.detector in ("torchvision", "detectron2", "auto") else "resnet50"
        return costs.get(backbone, costs["resnet50"]).of(one.megapixels(model.image_size, model.max_image_size))


def told(seconds: float) -> str:
    """A time as people say it: `20 s`, `5 min`, `3.5 h`, rounded as roughly as it is known."""
    if seconds < 55:
        return f"{max(10, round(seconds, -1)):.0f} s"
    if (minutes := seconds / 60) < 90:
        return f"{minutes if minutes < 9.5 else 5 * round(minutes / 5):.0f} min"
    hours = minutes / 60
    return f"{hours:.1f} h" if hours < 9.5 else f"{hours:.0f} h"


def about(seconds: Mapping[str, float], machine: Machine) -> str:
    """All stages together, in a sentence about a run: `about 25 min on 2 cores`."""
    unsure = ", a guess: none has been measured" if machine.gpu_gib else ""
    return f"about {told(sum(seconds.values()))} on {machine}{unsure}"


def expected_time(workspace: Workspace) -> str:
    """How long all stages of a run take here; "" if some have been done, or its files are wrong, which the run itself says."""
    models = (path for name in workspace.names for path in workspace.paths.upstream_models(name))
    if any(path.is_file() for path in models):
        return ""
    try:
        parts = {name: (workspace.data.train_part(name), workspace.data.validation_part(name)) for name in workspace.names}
    except InputError:
        return ""
    machine, counted = this_machine(), {name: Counted.of(*both) for name, both in parts.items()}
    return f"all stages take {about(estimate(workspace.config, counted, machine), machine)}"
