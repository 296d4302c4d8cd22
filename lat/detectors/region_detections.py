"""Shared by the two-stage detectors of all libraries: feature maps for a frozen backbone, and detections from regions.

Shape letters: B images, N detections of an image, R regions, K classes, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from lat.core.boxes import iou_of_pairs
from lat.core.copies import to_host
from lat.core.label_space import LabelSpace
from lat.core.selection import rows_where
from lat.core.structures import LabeledBoxes
from lat.core.suppression import Suppression, Survivors, count_pairs, order_by_image, pairs_in_groups, settle
from lat.detectors.detections import BatchedPrediction, handed_out, inference, is_solid
from lat.detectors.detector_settings import DetectorSettings

MOST_PAIRS = 4_000_000  # of candidates of one image and class, about half a GiB


class TwoStagePrediction(BatchedPrediction):
    """Prediction and feature maps of a two-stage detector, for a module that defines `_predict_batch` and `_pooled_maps`.

    `class_scores` (N, K) of a detection is its region's softmax over classes and background, without the background column.
    One region may give boxes for several classes.

    Attributes:
        feature_stride: image pixels per cell of `feature_maps`.
    """

    feature_stride: int

    def feature_maps(self, images: Tensor) -> Tensor:
        """Feature maps for a frozen backbone: the pyramid levels that the box head pools from, side by side.

        Runs in eval mode without gradients and normalises as the detector does, but does not resize: pass images already resized
        to `image_size`. Coarser levels are upsampled to the finest, bilinearly and at their exact scale.

        Args:
            images: (B, 3, H, W) float32 RGB in [0, 1].

        Returns:
            (B, feature_channels, ceil(H / feature_stride), ceil(W / feature_stride)) float32; a map cell is exactly
            `feature_stride` pixels wide and high; the last ones may extend beyond the image.
        """
        with inference(self):
            finest, *coarser = self._pooled_maps(images)
        upsampled = [F.interpolate(level, size=finest.shape[-2:], mode="bilinear", align_corners=False) for level in coarser]
        height, width = (-(-side // self.feature_stride) for side in images.shape[-2:])
        return torch.cat([finest, *upsampled], dim=1)[..., :height, :width]

    def _pooled_maps(self, images: Tensor) -> list[Tensor]:
        """The levels that the box head pools from, finest first, each (B, C_i, h_i, w_i)."""
        raise NotImplementedError


def keep_detections_of_batch(
    boxes_xyxy: Sequence[Tensor],
    class_scores: Sequence[Tensor],
    sizes_hw: Sequence[tuple[tuple[int, int], tuple[int, int]]],
    settings: DetectorSettings,
    space: LabelSpace,
) -> list[LabeledBoxes]:
    """`keep_detections` of each of B images, of one size after resizing.

    A device selects those of all images and classes at once, and the program waits for it three times: for the numbers of
    candidates and of what is left, and for the detections. With more than `MOST_PAIRS` pairs of candidates, for which memory
    would be short, it waits for each image instead.
    """
    if class_scores[0].device.type != "cpu" and (found := _selected_at_once(boxes_xyxy, class_scores, sizes_hw[0][0], settings)):
        return [handed_out(*columns, sizes, space) for columns, sizes in zip(found, sizes_hw, strict=True)]
    images = zip(boxes_xyxy, class_scores, sizes_hw, strict=True)
    return [keep_detections(*image, settings, space) for image in images]


def _selected_at_once(
    boxes_xyxy: Sequence[Tensor], class_scores: Sequence[Tensor], size_hw: tuple[int, int], settings: DetectorSettings
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Boxes (N, 4), classes (N,) and class scores (N, K) of each image, on the CPU; nothing if there are too many pairs."""
    scores, (_, num_classes) = torch.cat(list(class_scores)), class_scores[0].shape
    image_of = torch.cat([one.new_full((len(one),), i, dtype=torch.int64) for i, one in enumerate(class_scores)])
    is_high = scores > settings.detection_threshold
    per_group = is_high.new_zeros(len(class_scores), num_classes, dtype=torch.int64).index_add_(0, image_of, is_high.long())
    (counts,) = to_host([torch.stack([per_group.sum(), count_pairs(per_group)])])
    num_candidates, num_pairs = counts.tolist()
    if num_pairs > MOST_PAIRS:
        return []
    cells = rows_where(is_high.flatten(), num_candidates)
    regions, labels = cells // num_classes, cells % num_classes
    boxes = clip_boxes_to_image(torch.cat(list(boxes_xyxy))[regions, labels], size_hw)
    images, own = image_of[regions], scores[regions, labels]
    order, first, second = pairs_in_groups(images * num_classes + labels, num_pairs)
    first, second = order[first], order[second]
    by_score = own.argsort(descending=True, stable=True)
    rank = torch.empty_like(by_score)
    rank[by_score] = torch.arange(num_candidates, device=rank.device)
    first_wins = rank[first] < rank[second]
    better, other = torch.where(first_wins, first, second), torch.where(first_wins, second, first)
    suppression = Suppression(better, other, iou_of_pairs(boxes, first, second) > settings.nms_iou, is_solid(boxes))
    survivors = Survivors(suppression, order_by_image(images, own), images, settings.max_detections)
    settle([survivors])
    best = survivors.best()
    boxes, labels, scores, images = to_host([boxes[best], labels[best], scores[regions[best]], images[best]])
    per_image = torch.bincount(images, minlength=len(class_scores)).tolist()
    return list(zip(boxes.split(per_image), labels.split(per_image), scores.split(per_image), strict=True))


def keep_detections(
    boxes_xyxy: Tensor,
    class_scores: Tensor,
    sizes_hw: tuple[tuple[int, int], tuple[int, int]],
    settings: DetectorSettings,
    space: LabelSpace,
) -> LabeledBoxes:
    """The detections of one image, on the CPU, best first, in pixels of the original image.

    One region may give boxes for several classes: those whose score is above the threshold, after class-wise NMS.

    Args:
        boxes_xyxy: (R, K, 4) float32, the box of each region for each class, in pixels of the resized image.
        class_scores: (R, K) float32 in [0, 1], without background.
        sizes_hw: height and width of the resized and of the original image.
        settings: threshold, NMS and number of detections.
        space: the label space of the detector.
    """
    regions, labels = torch.where(class_scores > settings.detection_threshold)
    boxes_xyxy = clip_boxes_to_image(boxes_xyxy[regions, labels], sizes_hw[0])
    scores = class_scores[regions, labels]
    solid = is_solid(boxes_xyxy)
    boxes_xyxy, scores, regions, labels = boxes_xyxy[solid], scores[solid], regions[solid], labels[solid]
    keep = batched_nms(boxes_xyxy, scores, labels, settings.nms_iou)[: settings.max_detections]
    return handed_out(boxes_xyxy[keep], labels[keep], class_scores[regions[keep]], sizes_hw, space)
