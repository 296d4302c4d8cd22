"""How long and in what batches `lat init` proposes to train, by what the machine has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lat.engine.machine import Machine
from lat.workspace.time_estimate import CORES_POWER

LARGEST_BATCH = 16
LEAST_STEPS, MOST_STEPS = 800, 20_000  # of an upstream detector on a GPU
PASSES = 60  # over the largest dataset, on a GPU
GIB_BESIDE_IMAGES, GIB_PER_MEGAPIXEL, USABLE_SHARE = (
    2.0,
    1.0,
    0.8,
)  # of a GPU's memory; 0.4 are kept for the backward pass
PATIENCE_MEGAPIXELS = 4.0  # per step of two cores: about three hours for a run of two datasets


@dataclass(frozen=True)
class Proposal:
    """How long to train, and in what batches.

    Attributes:
        upstream, label_transfer, downstream: steps of each training.
        batch_size: images per step of detectors.
    """

    upstream: int
    label_transfer: int
    downstream: int
    batch_size: int

    @property
    def label_transfer_batch(self) -> int:
        """Images per step of the label-transfer model, which sees features that are kept."""
        return max(8, self.batch_size)


def propose(machine: Machine, images: Sequence[int], megapixels: float) -> Proposal:
    """What suits a machine.

    On a CPU, the default number of steps, and batches of 8, or of 4 or 2 where images are so large that a run of two datasets
    would take more than about three hours. On a GPU, the largest batch up to 16 that its memory holds, and steps for 60 passes
    over the largest dataset.

    Args:
        machine: what the run will have.
        images: number of training images of each dataset.
        megapixels: of an image as a detector sees it.
    """
    if not machine.gpu_gib:
        patience = PATIENCE_MEGAPIXELS * (machine.cores / 2) ** CORES_POWER
        return Proposal(800, 1200, 600, next((size for size in (8, 4) if size * megapixels <= patience), 2))
    room = (USABLE_SHARE * machine.gpu_gib - GIB_BESIDE_IMAGES) / (GIB_PER_MEGAPIXEL * megapixels)
    batch = next((size for size in (LARGEST_BATCH, 8, 4) if size <= room), 2)
    steps = min(max(100 * round(PASSES * max(images) / batch / 100), LEAST_STEPS), MOST_STEPS)
    return Proposal(steps, min(3 * steps, 10_000), min(3 * steps // 2, MOST_STEPS), batch)
