"""Shared by the two-stage detectors of all libraries: feature maps for a frozen backbone, and detections from regions.

Shape letters: B images, N detections of an image, R regions, K classes, C channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors.detections import BatchedPrediction, handed_out, inference, is_solid
from lat.detectors.detector_settings import DetectorSettings


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
