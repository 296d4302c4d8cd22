"""Train the upstream detector of one dataset: ground truth in, `upstream/D/{model.pt,metrics.json,log.jsonl}` out."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from lat.config import part_of
from lat.data.dataset import DetectionDataset
from lat.data.files import write_atomically
from lat.data.transforms import AugmentationSettings, augment
from lat.detectors.base import DetectorSettings, build_detector, describe_detector
from lat.engine.progress import track
from lat.engine.trainer import train
from lat.evaluation.detection_ap import ApResult, detection_ap
from lat.stages.detection import Predictor, image_batches, load_detector
from lat.stages.workspace import Workspace
from lat.structures import LabeledBoxes

DetectorBatch = tuple[list[Tensor], list[LabeledBoxes]]


class DetectionItems:
    """Images with their ground truth as a detector trains on them: augmented, in batches of lists."""

    def __init__(self, dataset: DetectionDataset, augmentation: AugmentationSettings) -> None:
        self.dataset = dataset
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.dataset)

    def item(self, index: int, generator: torch.Generator) -> tuple[Tensor, LabeledBoxes]:
        """Image `index` and its boxes, augmented."""
        return augment(self.dataset.image(index), self.dataset.boxes(index), self.augmentation, generator)

    def collate(self, items: list[tuple[Tensor, LabeledBoxes]]) -> DetectorBatch:
        """The arguments of a detector's `losses`."""
        return [image for image, _ in items], [boxes for _, boxes in items]


def train_upstream(workspace: Workspace, dataset: str, inputs: str = "") -> None:
    """Train the detector of `dataset` on its training images and score it on its held-out ones.

    Args:
        workspace: the run.
        dataset: name of the dataset.
        inputs: hash of all that goes in; an unfinished training of other inputs is not resumed.
    """
    settings = workspace.config.upstream
    part, space = workspace.train_part(dataset), workspace.space(dataset)
    torch.manual_seed(workspace.config.seed)
    detector_settings = part_of(settings, DetectorSettings)
    model = build_detector(detector_settings, space)
    path = train(
        model,
        DetectionItems(part, settings.augmentation),
        settings.training,
        out_dir=workspace.upstream_model(dataset).parent,
        seed=workspace.config.seed,
        title=f"train upstream {dataset}",
        fabric=workspace.fabric,
        description={**describe_detector(detector_settings, space)},
        num_workers=workspace.config.runtime.num_workers,
        inputs=inputs,
    )
    validation = workspace.validation_part(dataset)
    metrics: dict[str, object] = {"ap": None, "ap50": None, "per_class": {}, "images": 0, "boxes": 0}
    if validation is not None:
        metrics = evaluate_detector(Predictor(load_detector(path), workspace.fabric), validation).to_dict()
    write_atomically(workspace.upstream_metrics(dataset), json.dumps(metrics, indent=2) + "\n")


def evaluate_detector(predictor: Predictor, part: DetectionDataset, batch_size: int = 16) -> ApResult:
    """AP of a detector's detections on a part of a dataset of its own label space."""
    found: list[LabeledBoxes] = []
    with track(len(part), f"evaluate on {part.name}") as progress:
        for images in image_batches(part, batch_size):
            found += predictor.predict(images)
            progress.advance(len(images))
    return detection_ap(part.labels, found)
