"""Running trained detectors: read from a checkpoint, moved to the run's device, boxes back on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor

from lat.detectors.base import detector_from_checkpoint
from lat.engine.checkpoint import load_checkpoint
from lat.stages.workspace import require
from lat.structures import LabeledBoxes


def load_detector(path: Path) -> Any:
    """The trained detector in a `model.pt`, in eval mode.

    Raises:
        InputError: if the file is missing, damaged, or holds no detector.
    """
    return detector_from_checkpoint(load_checkpoint(require(path, "lat train-upstream"), "detector")).eval()


class Predictor:
    """A detector on the device and at the precision of a run."""

    def __init__(self, detector: Any, fabric: Fabric) -> None:
        self.detector = fabric.to_device(detector)
        self.fabric = fabric

    def predict(self, images: list[Tensor]) -> list[LabeledBoxes]:
        """Detections of each image, on the CPU."""
        with self.fabric.autocast():
            found = self.detector.predict([self.fabric.to_device(image) for image in images])
        return [boxes.to("cpu") for boxes in found]
