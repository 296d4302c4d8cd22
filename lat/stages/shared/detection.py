"""Detectors in a run: their training items, loading from a checkpoint, prediction on the run's device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from lat.core.structures import LabeledBoxes
from lat.data.augment.augment_settings import AugmentationSettings, NoiseSettings
from lat.data.augment.geometry import Sample
from lat.data.augment.noise import add_noise
from lat.data.augment.transforms import augment
from lat.data.dataset import DetectionDataset
from lat.detectors.base import detector_from_checkpoint
from lat.engine.checkpoint import load_checkpoint, reading_checkpoint
from lat.engine.processes import Processes
from lat.engine.progress import track
from lat.engine.runtime import laid_out
from lat.evaluation.detection_ap import ApResult, detection_ap
from lat.workspace.paths import require

DetectorBatch = tuple[list[Tensor], list[LabeledBoxes]]

READERS = 2  # threads that decode images ahead


class DetectionItems:
    """The images and labels that a detector trains on: augmented, in batches of lists.

    Args:
        datasets: all in one label space.
        augmentation: how each image is varied.
        noise: further variation, or None; a mosaic draws its other images from all of these datasets.
    """

    def __init__(
        self,
        datasets: Sequence[DetectionDataset],
        augmentation: AugmentationSettings,
        noise: NoiseSettings | None = None,
    ) -> None:
        self.images = [(dataset, i) for dataset in datasets for i in range(len(dataset))]
        self.augmentation, self.noise = augmentation, noise or NoiseSettings()

    def __len__(self) -> int:
        return len(self.images)

    def item(self, index: int, generator: torch.Generator) -> Sample:
        """Image `index` and its boxes, varied."""
        sample = self._augmented(index, generator)
        if not self.noise.changes_images:
            return sample

        def draw_another() -> Sample:
            return self._augmented(int(torch.randint(len(self.images), (), generator=generator)), generator)

        return add_noise(sample, draw_another, self.noise, generator)

    def _augmented(self, index: int, generator: torch.Generator) -> Sample:
        dataset, i = self.images[index]
        return augment(dataset.image(i), dataset.boxes(i), self.augmentation, generator)

    def collate(self, items: list[Sample]) -> DetectorBatch:
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
        """Detections of each image, on the CPU."""
        with self.fabric.autocast():
            found = self.detector.predict([self.fabric.to_device(image) for image in images])
        return [boxes.to("cpu") for boxes in found]


def batches_of(images: range, batch_size: int) -> list[range]:
    """Indices of images in batches, in order."""
    return [images[start : start + batch_size] for start in range(0, len(images), batch_size)]


def image_batches(part: DetectionDataset, batches: Sequence[range]) -> Iterator[list[Tensor]]:
    """The images of a part, (3, H, W) each, in batches; decodes the next batch while the caller works on this one."""
    with ThreadPoolExecutor(READERS) as readers:
        ahead = [readers.submit(part.image, i) for i in (batches[0] if batches else ())]
        for after in (*batches[1:], range(0)) if batches else ():
            now, ahead = ahead, [readers.submit(part.image, i) for i in after]
            yield [image.result() for image in now]


def evaluate_detector(
    predictor: Predictor, part: DetectionDataset | None, processes: Processes, batch_size: int = 16
) -> dict[str, Any]:
    """AP of a detector on a part of a dataset in its label space, as in metrics.json; null without a part."""
    if part is None:
        return ApResult(None, None, None, None, {}, 0, 0, 0).to_dict()
    found: list[LabeledBoxes] = []
    batches = batches_of(range(len(part)), batch_size)
    detections = map(predictor.predict, image_batches(part, processes.share(batches)))
    with track(len(part), f"evaluate on {part.name}") as progress:
        for boxes in processes.in_order(detections, len(batches)):
            found += boxes
            progress.advance(len(boxes))
    return processes.from_first(detection_ap, part.labels, found).to_dict()
