"""What two-stage detectors of every library have in common: prediction in batches of one size, and what is kept of regions.

Shape letters: B images, N detections of an image, R regions, K classes, C channels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from lat.detectors.image_batch import resized_hw, scale_xyxy
from lat.detectors.settings import DetectorSettings
from lat.label_space import LabelSpace
from lat.structures import LabeledBoxes

SMALLEST_SIDE = 0.1  # pixels of the resized image; thinner boxes have no usable delta and are left out


@contextmanager
def inference(model: Any) -> Iterator[None]:
    """A module in eval mode, without gradients; its mode is as before afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def indices_by_size(images: Sequence[Tensor], settings: DetectorSettings) -> list[list[int]]:
    """Indices of the images (3, H, W) in groups of one size after resizing, so that no image of a batch needs padding."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        size_hw = (image.shape[-2], image.shape[-1])
        groups[resized_hw(size_hw, settings.image_size, settings.max_image_size)].append(index)
    return list(groups.values())


class TwoStagePrediction:
    """Prediction and feature maps of a two-stage detector, for a class that is a module and says how a batch is predicted.

    Attributes:
        settings: image size and what is kept of the detections.
        space: the label space of the detector.
        feature_stride: image pixels to one cell of `feature_maps`.
    """

    settings: DetectorSettings
    space: LabelSpace
    feature_stride: int

    def predict(self, images: list[Tensor]) -> list[LabeledBoxes]:
        """Detections of each image on the CPU, best first, in pixels of the original image.

        `class_scores` (N, K) is the softmax over classes and background of the region that a box was drawn from, without its
        background column; `scores` is its entry at `labels`. One region may give a box for each of several classes. Images are
        run in batches of equal size, so that a result does not depend on the other images.
        """
        found: dict[int, LabeledBoxes] = {}
        with inference(self):
            for indices in indices_by_size(images, self.settings):
                found.update(zip(indices, self._predict_batch([images[i] for i in indices]), strict=True))
        return [found[index] for index in range(len(images))]

    def feature_maps(self, images: Tensor) -> Tensor:
        """Feature maps for a frozen backbone: the pyramid levels that the box head pools from, side by side.

        Runs in eval mode without gradient and normalises as the detector does, but does not resize: give images of the size that
        `image_size` asks for. Levels coarser than the finest are upsampled to it, bilinearly and at their exact scale.

        Args:
            images: (B, 3, H, W) float32 RGB in [0, 1].

        Returns:
            (B, feature_channels, ceil(H / feature_stride), ceil(W / feature_stride)) float32; a map cell is exactly
            `feature_stride` pixels wide and high, the last ones may reach beyond the image.
        """
        with inference(self):
            finest, *coarser = self._pooled_maps(images)
        upsampled = [F.interpolate(level, size=finest.shape[-2:], mode="bilinear", align_corners=False) for level in coarser]
        height, width = (-(-side // self.feature_stride) for side in images.shape[-2:])
        return torch.cat([finest, *upsampled], dim=1)[..., :height, :width]

    def _predict_batch(self, images: list[Tensor]) -> list[LabeledBoxes]:
        """Detections of images of one size after resizing."""
        raise NotImplementedError

    def _pooled_maps(self, images: Tensor) -> list[Tensor]:
        """The levels that the box head pools from, finest first, each (B, C_i, h_i, w_i)."""
        raise NotImplementedError


def keep_detections(
    boxes_xyxy: Tensor,
    class_scores: Tensor,
    sizes_hw: tuple[tuple[int, int], tuple[int, int]],
    settings: DetectorSettings,
    space: LabelSpace,
) -> LabeledBoxes:
    """The detections of one image, on the CPU, best first, in pixels of the original image.

    One region may give a box for each of several classes: those whose score is above the threshold, after class-wise NMS.

    Args:
        boxes_xyxy: (R, K, 4) float32, the box of each region for each class, in pixels of the resized image.
        class_scores: (R, K) float32 in [0, 1], background left out.
        sizes_hw: height and width of the resized and of the original image.
        settings: threshold, NMS and number of detections.
        space: the label space of the detector.
    """
    resized, original = sizes_hw
    regions, labels = torch.where(class_scores > settings.score_threshold)
    boxes_xyxy = clip_boxes_to_image(boxes_xyxy[regions, labels], resized)
    scores = class_scores[regions, labels]
    solid = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2] >= SMALLEST_SIDE).all(dim=1)
    boxes_xyxy, scores, regions, labels = boxes_xyxy[solid], scores[solid], regions[solid], labels[solid]
    keep = batched_nms(boxes_xyxy, scores, labels, settings.nms_iou)[: settings.max_detections]
    in_original = boxes_xyxy[keep] / scale_xyxy(resized, original, boxes_xyxy.device)
    return LabeledBoxes(
        clip_boxes_to_image(in_original, original).cpu(),
        labels[keep].cpu(),
        space,
        scores=scores[keep].cpu(),
        class_scores=class_scores[regions[keep]].cpu(),
    )
