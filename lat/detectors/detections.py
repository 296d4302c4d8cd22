"""Shared by the detectors of all libraries: prediction in batches of one size, and conversion to `LabeledBoxes`.

Shape letters: B images, N detections of an image, K classes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.core.suppression import PASSES, until_settled
from lat.detectors.detected import Detected
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.image_batch import resized_hw, scale_xyxy

SMALLEST_SIDE = 0.1  # pixels of the resized image; thinner boxes have no usable delta and are dropped


@contextmanager
def inference(model: Any) -> Iterator[None]:
    """Put a module in eval mode without gradients; restores its mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def indices_by_size(images: Sequence[Tensor], settings: DetectorSettings, scale: float = 1.0) -> list[list[int]]:
    """Indices of the images (3, H, W) grouped by size after resizing, so that no batch needs padding."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        size_hw = (image.shape[-2], image.shape[-1])
        groups[resized_hw(size_hw, settings.image_size, settings.max_image_size, scale)].append(index)
    return list(groups.values())


class BatchedPrediction:
    """Implements `predict` and `detect` for a module that defines `_detect_batch`, and `_predict_batch` where a CPU has its own.

    Attributes:
        settings: image size and which detections to keep.
        space: the label space of the detector.
        scale: by how much images are enlarged in prediction, beyond the size that the settings say; 1 until `scaled` sets it.
    """

    settings: DetectorSettings
    space: LabelSpace
    scale: float = 1.0

    def predict(self, images: list[Tensor]) -> list[LabeledBoxes]:
        """Detections of each image on the CPU, best first, in pixels of the original image.

        Images run in batches of equal size, so that a result does not depend on the other images.
        """
        found: dict[int, LabeledBoxes] = {}
        with inference(self):
            for indices in indices_by_size(images, self.settings, self.scale):
                found.update(zip(indices, self._predict_batch([images[i] for i in indices]), strict=True))
        return [found[index] for index in range(len(images))]

    def detect(self, images: list[Tensor]) -> Detected:
        """What `predict` finds on some images, at least one, where the detector computes; the program waits less for it."""
        groups = indices_by_size(images, self.settings, self.scale)
        with inference(self):
            parts = [self._detect_batch([images[i] for i in indices], PASSES) for indices in groups]
        place = {index: row for row, index in enumerate(index for indices in groups for index in indices)}
        return Detected.joined(parts, [place[index] for index in range(len(images))])

    def _predict_batch(self, images: list[Tensor]) -> list[LabeledBoxes]:
        """Detections of images of one size after resizing."""
        return until_settled(lambda passes: self._detect_batch(images, passes).handed_out())

    def _detect_batch(self, images: list[Tensor], passes: int) -> Detected:
        """The same where the detector computes, with suppression applied so often."""
        raise NotImplementedError


def scaled(detector: Any, scale: float) -> Any:
    """The same detector, with the same weights, as it predicts on enlarged images."""
    other = copy(detector)
    other.scale = scale
    return other


def is_solid(boxes_xyxy: Tensor) -> Tensor:
    """(N,) bool: which boxes (N, 4), in pixels of the resized image, are thick enough to use."""
    return (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2] >= SMALLEST_SIDE).all(dim=1)


def handed_out(
    boxes_xyxy: Tensor,
    labels: Tensor,
    class_scores: Tensor,
    sizes_hw: tuple[tuple[int, int], tuple[int, int]],
    space: LabelSpace,
) -> LabeledBoxes:
    """Detections of one image on the CPU, in the given order, in pixels of the original image.

    Args:
        boxes_xyxy: (N, 4) float32, in pixels of the resized image.
        labels: (N,) int64 in 0..K-1.
        class_scores: (N, K) float32 in [0, 1]; `scores` becomes its entry at `labels`.
        sizes_hw: height and width of the resized and of the original image.
        space: the label space of `labels`.
    """
    resized, original = sizes_hw
    in_original = boxes_xyxy / scale_xyxy(resized, original, boxes_xyxy.device)
    return LabeledBoxes(
        clip_boxes_to_image(in_original, original).cpu(),
        labels.cpu(),
        space,
        scores=class_scores.gather(1, labels[:, None])[:, 0].cpu(),
        class_scores=class_scores.cpu(),
    )
