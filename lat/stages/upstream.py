"""Train the upstream detector of one dataset: ground truth in, `upstream/D/{model.pt,metrics.json,log.jsonl}` out.

In a further round the labels that the round before transferred to the dataset come in as well.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lat.config import RoundsSettings, part_of
from lat.data.dataset import DetectionDataset
from lat.data.files import write_atomically
from lat.data.transforms import AugmentationSettings, augment
from lat.detectors.base import DetectorSettings, build_detector, describe_detector, detector_from_checkpoint
from lat.engine.checkpoint import load_checkpoint
from lat.engine.progress import track
from lat.engine.sampling import Reserved, derive_seed
from lat.engine.trainer import train
from lat.evaluation.detection_ap import ApResult, detection_ap
from lat.stages.detection import Predictor, image_batches, load_detector
from lat.stages.workspace import Workspace, require
from lat.structures import LabeledBoxes

DetectorBatch = tuple[list[Tensor], list[LabeledBoxes]]


class DetectionItems:
    """Images of some datasets with their labels as a detector trains on them: augmented, in batches of lists."""

    def __init__(self, datasets: Sequence[DetectionDataset], augmentation: AugmentationSettings) -> None:
        self.images = [(dataset, i) for dataset in datasets for i in range(len(dataset))]
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.images)

    def item(self, index: int, generator: torch.Generator) -> tuple[Tensor, LabeledBoxes]:
        """Image `index` and its boxes, augmented."""
        dataset, i = self.images[index]
        return augment(dataset.image(i), dataset.boxes(i), self.augmentation, generator)

    def collate(self, items: list[tuple[Tensor, LabeledBoxes]]) -> DetectorBatch:
        """The arguments of a detector's `losses`."""
        return [image for image, _ in items], [boxes for _, boxes in items]


@dataclass(frozen=True, eq=False)
class TransferredDataset(DetectionDataset):
    """Images of a source with the labels that were transferred to a target, weighted by their scores."""

    settings: RoundsSettings

    def boxes(self, i: int) -> LabeledBoxes:
        """The boxes of image `i` that a detector trains on or does not care for."""
        return weigh_transferred(super().boxes(i), self.settings)


def weigh_transferred(boxes: LabeledBoxes, settings: RoundsSettings) -> LabeledBoxes:
    """Transferred labels with their scores as weights; doubtful ones have weight 0, don't-care, and bad ones are left out."""
    boxes = boxes[boxes.scores >= settings.ignore_threshold]
    return replace(boxes, weights=torch.where(boxes.scores >= settings.score_threshold, boxes.scores, 0.0))


def train_upstream(workspace: Workspace, dataset: str, inputs: str = "") -> None:
    """Train the detector of `dataset` on its training images and score it on its held-out ones.

    In a further round the detector of the round before is trained on, with the labels that were transferred to it besides.

    Args:
        workspace: the run.
        dataset: name of the dataset.
        inputs: hash of all that goes in; an unfinished training of other inputs is not resumed.
    """
    settings, rounds = workspace.config.upstream, workspace.config.rounds
    training, seed, reserved = settings.training, workspace.config.seed, None
    datasets = [workspace.train_part(dataset)]
    if workspace.round:
        training, seed = rounds.training(training), derive_seed("round", seed, workspace.round)
        model, description = _trained_before(workspace.previous(), dataset)
        datasets += [_transferred(workspace.previous(), source, dataset) for source in workspace.others(dataset)]
        reserved = Reserved(len(datasets[0]), max(1, round(rounds.own_share * training.batch_size)))
    else:
        torch.manual_seed(seed)
        detector_settings = part_of(settings, DetectorSettings)
        model = build_detector(detector_settings, workspace.space(dataset))
        description = describe_detector(detector_settings, workspace.space(dataset))
    path = train(
        model,
        DetectionItems(datasets, settings.augmentation),
        training,
        out_dir=workspace.upstream_model(dataset).parent,
        seed=seed,
        title=f"train upstream {dataset}",
        fabric=workspace.fabric,
        description=description,
        num_workers=workspace.config.runtime.num_workers,
        inputs=inputs,
        reserved=reserved,
    )
    validation = workspace.validation_part(dataset)
    metrics: dict[str, object] = {"ap": None, "ap50": None, "per_class": {}, "images": 0, "boxes": 0}
    if validation is not None:
        metrics = evaluate_detector(Predictor(load_detector(path), workspace.fabric), validation).to_dict()
    write_atomically(workspace.upstream_metrics(dataset), json.dumps(metrics, indent=2) + "\n")


def _trained_before(workspace: Workspace, dataset: str) -> tuple[Any, dict[str, Any]]:
    """The detector that a round has trained, and its description for the next checkpoint."""
    path = require(workspace.upstream_model(dataset), "lat train-upstream")
    content = load_checkpoint(path, "detector")
    return detector_from_checkpoint(content), {key: content[key] for key in content if key != "model"}


def _transferred(workspace: Workspace, source: str, target: str) -> TransferredDataset:
    """The training images of `source` with the labels that a round has transferred to `target`."""
    labels = workspace.read_transferred(source, target)
    return TransferredDataset(source, workspace.train_part(source).images_dir, labels, workspace.config.rounds)


def evaluate_detector(predictor: Predictor, part: DetectionDataset, batch_size: int = 16) -> ApResult:
    """AP of a detector's detections on a part of a dataset of its own label space."""
    found: list[LabeledBoxes] = []
    with track(len(part), f"evaluate on {part.name}") as progress:
        for images in image_batches(part, batch_size):
            found += predictor.predict(images)
            progress.advance(len(images))
    return detection_ap(part.labels, found)
