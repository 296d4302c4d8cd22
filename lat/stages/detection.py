"""Running trained detectors: read from a checkpoint, moved to the run's device, boxes back on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor

from lat.data.dataset import DetectionDataset
from lat.detectors.base import detector_from_checkpoint
from lat.engine.checkpoint import load_checkpoint
from lat.stages.workspace import require
from lat.structures import LabeledBoxes

READERS = 2  # threads that decode images ahead


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


def image_batches(part: DetectionDataset, batch_size: int) -> Iterator[list[Tensor]]:
    """All images of a part in order, (3, H, W) each; the next batch is decoded while the caller works on this one."""
    starts = range(0, len(part), batch_size)
    with ThreadPoolExecutor(READERS) as readers:
        ahead = [readers.submit(part.image, i) for i in range(min(batch_size, len(part)))]
        for start in starts:
            now, after = ahead, range(start + batch_size, min(start + 2 * batch_size, len(part)))
            ahead = [readers.submit(part.image, i) for i in after]
            yield [image.result() for image in now]
