"""What two-stage detectors of every library have in common: prediction in batches of one size, and what is kept of regions.

Shape letters: B images, N detections of an image, R regions, K classes, C channels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image

from lat.detectors.image_batch import resized_hw, scale_xyxy
from lat.detectors.settings import DetectorSettings
from lat.label_space import LabelSpace
from lat.structures import LabeledBoxes

SMALLEST_SIDE = 0.1  # pixels of the resized image; thinner boxes have no usable delta and are left out


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; the mode is as before afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def predict_in_equal_sizes(
    images: Sequence[Tensor], settings: DetectorSettings, predict_batch: Callable[[list[Tensor]], list[LabeledBoxes]]
) -> list[LabeledBoxes]:
    """Predict images (3, H, W) in batches of equal size after resizing, so that a result does not depend on the other images."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        size_hw = (image.shape[-2], image.shape[-1])
        groups[resized_hw(size_hw, settings.image_size, settings.max_image_size)].append(index)
    found: dict[int, LabeledBoxes] = {}
    for indices in groups.values():
        found.update(zip(indices, predict_batch([images[i] for i in indices]), strict=True))
    return [found[index] for index in range(len(images))]


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


def stack_levels(levels: Sequence[Tensor], stride: int, size_hw: tuple[int, int]) -> Tensor:
    """Levels of a feature pyramid side by side, as one map of a frozen backbone.

    Args:
        levels: (B, C_i, h_i, w_i), finest first; coarser ones are upsampled to it, bilinearly and at their exact scale.
        stride: image pixels to one cell of the finest level.
        size_hw: height and width of the images without padding.

    Returns:
        (B, C, ceil(H / stride), ceil(W / stride)); the last cells may reach beyond the image.
    """
    finest, *coarser = levels
    upsampled = [F.interpolate(level, size=finest.shape[-2:], mode="bilinear", align_corners=False) for level in coarser]
    height, width = (-(-side // stride) for side in size_hw)
    return torch.cat([finest, *upsampled], dim=1)[..., :height, :width]
