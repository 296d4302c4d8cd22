"""The training data of LGPL, the validity thresholds from held-out images, and the resulting labels of a source."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lat.baselines.lgpl import LgplModel
from lat.core.structures import LabeledBoxes
from lat.data.augment.augment_settings import AugmentationSettings
from lat.data.augment.transforms import augment
from lat.data.dataset import DetectionDataset

UNKNOWN_THRESHOLD = 0.5  # for classes without valid proposals on held-out images

LgplBatch = tuple[list[Tensor], list[LabeledBoxes], list[Tensor], list[LabeledBoxes]]


class LgplItem(NamedTuple):
    """One augmented training image."""

    image: Tensor
    boxes: LabeledBoxes
    is_target: bool


class LgplItems:
    """The target's images, then those of the sources, with their own labels.

    For batches of half target and half sources, use a sampler that reserves half of the places for the first `num_target` items.
    """

    def __init__(self, sources: Sequence[DetectionDataset], target: DetectionDataset, augmentation: AugmentationSettings) -> None:
        self.num_target = len(target)
        self.images = [(dataset, i) for dataset in (target, *sources) for i in range(len(dataset))]
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.images)

    def item(self, index: int, generator: torch.Generator) -> LgplItem:
        """Image `index` and its boxes, augmented."""
        dataset, i = self.images[index]
        image, boxes = augment(dataset.image(i), dataset.boxes(i), self.augmentation, generator)
        return LgplItem(image, boxes, index < self.num_target)

    def collate(self, items: list[LgplItem]) -> LgplBatch:
        """The arguments of the model's `losses`."""
        sources, targets = ([item for item in items if item.is_target == wanted] for wanted in (False, True))
        return (
            [item.image for item in sources],
            [item.boxes for item in sources],
            [item.image for item in targets],
            [item.boxes for item in targets],
        )


def validity_thresholds(model: LgplModel, held_out: DetectionDataset, batch_size: int = 16) -> Tensor:
    """The validity thresholds (K,) float32 in [0, 1] for keeping boxes of each class.

    For each class, `histogram_threshold` gets the validity of every proposal on the held-out images, and whether it is valid as
    in training (see `match_to_classes`); undecided ones are left out.

    Args:
        model: on the device to run on.
        held_out: images of the target with its labels.
        batch_size: images per batch.
    """
    device, rated = _device(model), []
    for rows in _batches(len(held_out), batch_size):
        images = [held_out.image(i).to(device) for i in rows]
        rated += model.rate_proposals(images, [held_out.boxes(i) for i in rows])
    validity, valid, counted = (
        torch.cat([getattr(image, name).cpu() for image in rated]) for name in ("validity", "valid", "counted")
    )
    precision = model.lgpl_settings.least_precision
    columns = [
        histogram_threshold(validity[counted[:, k], k], valid[counted[:, k], k], precision) for k in range(len(model.space))
    ]
    return torch.tensor(columns, dtype=torch.float32)


def histogram_threshold(scores: Tensor, hits: Tensor, wanted_precision: float) -> float:
    """The lowest edge of a histogram of scores from which on upwards at least `wanted_precision` of all are hits.

    The histogram divides [0, 1] into ceil(log2 n) + 1 equal bins. If no edge qualifies, the result is the lowest of those with
    the largest share of hits above; without any hit, nothing is known and the result is 0.5.

    Args:
        scores: (n,) float in [0, 1].
        hits: (n,) bool.
        wanted_precision: above 0, at most 1.

    Source: Sturges, The Choice of a Class Interval (1926), for the number of bins; the rule is ours.
    """
    if not hits.any():
        return UNKNOWN_THRESHOLD
    bins = math.ceil(math.log2(len(scores))) + 1
    places = (scores.double() * bins).long().clamp(max=bins - 1)
    counts, right = (torch.bincount(rows, minlength=bins).flip(0).cumsum(0).flip(0) for rows in (places, places[hits]))
    precision = right / counts.clamp(min=1)
    reached = precision >= wanted_precision
    chosen = reached.nonzero()[0] if reached.any() else (precision == precision.max()).nonzero()[0]
    return float(chosen) / bins


def lgpl_labels(
    model: LgplModel,
    source: DetectionDataset,
    boxes: Sequence[LabeledBoxes],
    thresholds: Tensor,
    *,
    batch_size: int = 16,
    advance: Callable[[int], None] = lambda _: None,
) -> list[LabeledBoxes]:
    """A source's boxes as the target would have drawn them: the sufficiently valid ones, moved, with their validity as score.

    Args:
        model: on the device to run on.
        source: the images.
        boxes: the human boxes of each image, in classes of the target; boxes of weight 0 are left out.
        thresholds: (K,) from `validity_thresholds`.
        batch_size: images per batch.
        advance: called with the number of images of each batch that is done.
    """
    assert len(boxes) == len(source), "one entry per image"
    device, thresholds = _device(model), thresholds.cpu()
    labels: list[LabeledBoxes] = []
    for rows in _batches(len(source), batch_size):
        given = [boxes[i][boxes[i].weights > 0] for i in rows]
        for refined in model.refine([source.image(i).to(device) for i in rows], given):
            has_area = (refined.boxes_xyxy[:, 2:] > refined.boxes_xyxy[:, :2]).all(dim=1)
            labels.append(refined[has_area & (refined.scores >= thresholds[refined.labels])])
        advance(len(rows))
    return labels


def _device(model: LgplModel) -> torch.device:
    return next(model.parameters()).device


def _batches(count: int, batch_size: int) -> Iterator[range]:
    return (range(start, min(start + batch_size, count)) for start in range(0, count, batch_size))
