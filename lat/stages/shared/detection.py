"""Detectors in a run: their training items, loading from a checkpoint, prediction on the run's device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lat.core.copies import to_device
from lat.core.structures import LabeledBoxes
from lat.data.augment.augment_settings import AugmentationSettings, NoiseSettings
from lat.data.augment.geometry import Sample
from lat.data.augment.noise import add_noise
from lat.data.augment.transforms import AugmentedThere, Variation, augment
from lat.data.dataset import DetectionDataset
from lat.data.read_ahead import READERS, read_ahead
from lat.data.tensors import unit_range
from lat.detectors.base import detector_from_checkpoint
from lat.detectors.detected import Detected
from lat.engine.checkpoint import load_checkpoint, reading_checkpoint
from lat.engine.processes import Processes
from lat.engine.progress import track
from lat.engine.runtime import laid_out
from lat.evaluation.box_columns import FoundBoxes
from lat.evaluation.detection_ap import ApResult, detection_ap
from lat.workspace.paths import require

if TYPE_CHECKING:
    from lightning_fabric import Fabric

DetectorBatch = tuple[list[Tensor], list[LabeledBoxes]]
CPU = torch.device("cpu")


class DetectionItems:
    """The images and labels that a detector trains on: augmented, in batches of lists.

    Args:
        datasets: all in one label space.
        augmentation: how each image is varied.
        noise: further variation, or None; a mosaic draws its other images from all of these datasets.
        device: where the detector is trained; a GPU augments images itself, unless there is further variation.
    """

    def __init__(
        self,
        datasets: Sequence[DetectionDataset],
        augmentation: AugmentationSettings,
        noise: NoiseSettings | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.datasets = datasets
        self._ends = np.cumsum([len(dataset) for dataset in datasets], dtype=np.int64)
        self.augmentation, self.noise = augmentation, noise or NoiseSettings()
        self.is_augmented_there = device.type == "cuda" and not self.noise.changes_images

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def item(self, index: int, generator: torch.Generator) -> Sample | tuple[AugmentedThere, LabeledBoxes]:
        """Image `index` and its boxes, varied, or as pixels that are yet to be varied."""
        if self.is_augmented_there:
            dataset, i = self._place(index)
            pixels, variation = dataset.pixels(i), Variation.drawn(self.augmentation, generator)
            boxes = variation.of_boxes(dataset.boxes(i), (pixels.shape[-2], pixels.shape[-1]))
            return AugmentedThere(pixels, variation), boxes
        sample = self._augmented(index, generator)
        if not self.noise.changes_images:
            return sample

        def draw_another() -> Sample:
            return self._augmented(int(torch.randint(len(self), (), generator=generator)), generator)

        return add_noise(sample, draw_another, self.noise, generator)

    def _augmented(self, index: int, generator: torch.Generator) -> Sample:
        dataset, i = self._place(index)
        return augment(dataset.image(i), dataset.boxes(i), self.augmentation, generator)

    def _place(self, index: int) -> tuple[DetectionDataset, int]:
        """The dataset of image `index`, and its index there."""
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self.datasets[number], index - int(self._ends[number]) + len(self.datasets[number])

    def collate(self, items: list[tuple[Any, LabeledBoxes]]) -> DetectorBatch:
        """The arguments of a detector's `losses`."""
        return [image for image, _ in items], [boxes for _, boxes in items]


def load_detector(path: Path) -> Any:
    """The trained detector of a `model.pt`, in eval mode.

    Raises:
        InputError: if the file is missing or damaged, or contains no detector.
    """
    content = load_checkpoint(require(path, "lat train-upstream"), "detector")
    with reading_checkpoint(path):
        return detector_from_checkpoint(content).eval()


class Predictor:
    """A detector on a run's device, at its precision."""

    def __init__(self, detector: Any, fabric: Fabric) -> None:
        self.detector: Any = laid_out(detector, fabric.device)
        self.fabric = fabric

    def predict(self, images: list[Tensor]) -> list[LabeledBoxes]:
        """Detections of each image, float32 in [0, 1] on any device; on the CPU."""
        with self.fabric.autocast():
            found = self.detector.predict([self.fabric.to_device(image) for image in images])
        return [boxes if boxes.boxes_xyxy.device.type == "cpu" else boxes.to("cpu") for boxes in found]

    def detect(self, images: list[Tensor]) -> Detected:
        """The same where the detector computes, for a detector with `detect`."""
        with self.fabric.autocast():
            found: Detected = self.detector.detect(images)
        return found


def batches_of(images: range, batch_size: int) -> list[range]:
    """Indices of images in batches, in order."""
    return [images[start : start + batch_size] for start in range(0, len(images), batch_size)]


def image_batches(
    part: DetectionDataset, batches: Sequence[range], device: torch.device = CPU, readers: int = READERS
) -> Iterator[list[Tensor]]:
    """The images of a part in batches, (3, H, W) float32 in [0, 1] each, on a device; decodes the next ones meanwhile.

    A GPU gets bytes, from memory that it copies by itself, and makes numbers of them.
    """
    if device.type != "cuda":
        yield from read_ahead(part.image, batches, readers)
        return
    for pixels in read_ahead(lambda i: part.pixels(i).pin_memory(), batches, readers):
        yield [unit_range(to_device(one, device)) for one in pixels]


def evaluate_detector(
    predictor: Predictor, part: DetectionDataset | None, processes: Processes, readers: int = READERS, batch_size: int = 16
) -> dict[str, Any]:
    """AP of a detector on a part of a dataset in its label space, as in metrics.json; null without a part."""
    if part is None:
        return ApResult(None, None, None, None, {}, 0, 0, 0, None, None, {}).to_dict()
    found = FoundBoxes(part.space)
    batches = batches_of(range(len(part)), batch_size)
    detections = map(predictor.predict, image_batches(part, processes.share(batches), predictor.fabric.device, readers))
    with track(len(part), f"evaluate on {part.name}") as progress:
        for boxes in processes.in_order(detections, len(batches)):
            found.add(boxes)
            progress.advance(len(boxes))
    return processes.from_first(detection_ap, part.labels, found).to_dict()
