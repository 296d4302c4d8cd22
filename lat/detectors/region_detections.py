"""Shared by the two-stage detectors of all libraries: feature maps for a frozen backbone, and detections from regions.

Shape letters: B images, N detections of an image, R regions, K classes, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from lat.core.boxes import iou_of_pairs
from lat.core.copies import to_host
from lat.core.label_space import LabelSpace
from lat.core.selection import rows_where
from lat.core.structures import LabeledBoxes
from lat.core.suppression import PASSES, Suppression, count_pairs, order_by_image, pairs_in_groups, until_settled
from lat.detectors.box_voting import voted_among_pairs, voted_boxes
from lat.detectors.detected import Detected, in_original_pixels
from lat.detectors.detections import BatchedPrediction, handed_out, inference, is_solid
from lat.detectors.detector_settings import DetectorSettings

MOST_PAIRS = 4_000_000  # of candidates of one image and class, about half a GiB


@dataclass(frozen=True, eq=False)
class RegionScores:
    """What a network says of the regions of B images, of one size after resizing.

    Attributes:
        boxes_xyxy: (R, K, 4) float32 for each image, the box of each region for each class, in pixels of the resized image.
        class_scores: (R, K) float32 for each image, in [0, 1], without background.
        sizes_hw: for each image height and width of the resized and of the original one.
        is_settled: () bool, False if suppression among the regions was cut short. None if there was none, or all of it.
    """

    boxes_xyxy: Sequence[Tensor]
    class_scores: Sequence[Tensor]
    sizes_hw: Sequence[tuple[tuple[int, int], tuple[int, int]]]
    is_settled: Tensor | None = None


class TwoStagePrediction(BatchedPrediction):
    """Prediction and feature maps of a two-stage detector, for a module that defines `_region_scores` and `_pooled_maps`.

    `class_scores` (N, K) of a detection is its region's softmax over classes and background, without the background column.
    One region may give boxes for several classes.

    Attributes:
        feature_stride: image pixels per cell of `feature_maps`.
        voting_iou: overlap from which regions vote on the box of a detection, see `lat.detectors.box_voting`; 1, for no votes,
            until `voting` sets it.
    """

    feature_stride: int
    voting_iou: float = 1.0

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

    def _region_scores(self, images: list[Tensor], passes: int) -> RegionScores:
        """What the network says of images of one size after resizing; on a device, with suppression applied so often."""
        raise NotImplementedError

    def _predict_batch(self, images: list[Tensor]) -> list[LabeledBoxes]:
        if images[0].device.type == "cpu":
            return predicted(self._region_scores(images, PASSES), self.settings, self.space, self.voting_iou)
        return super()._predict_batch(images)

    def _detect_batch(self, images: list[Tensor], passes: int) -> Detected:
        def attempt(more: int) -> Detected | None:
            return detected(self._region_scores(images, more), self.settings, self.space, passes, self.voting_iou)

        return until_settled(attempt, passes)


def voting(detector: Any, voting_iou: float) -> Any:
    """The detector, whose regions vote from now on, if it has regions."""
    if isinstance(detector, TwoStagePrediction):
        detector.voting_iou = voting_iou
    return detector


def predicted(
    regions: RegionScores, settings: DetectorSettings, space: LabelSpace, voting_iou: float = 1.0
) -> list[LabeledBoxes]:
    """`keep_detections` of each image, one after another."""
    images = zip(regions.boxes_xyxy, regions.class_scores, regions.sizes_hw, strict=True)
    return [keep_detections(*image, settings, space, voting_iou) for image in images]


def detected(
    regions: RegionScores, settings: DetectorSettings, space: LabelSpace, passes: int = PASSES, voting_iou: float = 1.0
) -> Detected | None:
    """`keep_detections` of all images at once, where the regions are; None if suppression among the regions is not settled.

    The program waits once, for the number of candidates. With more than `MOST_PAIRS` pairs of candidates, for which memory
    would be short, it goes image by image instead and waits for each.
    """
    scores, num_images = torch.cat(list(regions.class_scores)), len(regions.class_scores)
    image_of = torch.cat([one.new_full((len(one),), i, dtype=torch.int64) for i, one in enumerate(regions.class_scores)])
    is_high = scores > settings.detection_threshold
    per_group = image_of.new_zeros(num_images, len(space)).index_add_(0, image_of, is_high.long())
    is_settled = is_high.new_ones(()) if regions.is_settled is None else regions.is_settled
    (counts,) = to_host([torch.stack([is_settled.long(), per_group.sum(), count_pairs(per_group)])])
    are_settled, num_candidates, num_pairs = counts.tolist()
    if not are_settled:
        return None
    if num_pairs > MOST_PAIRS:
        return Detected.of_boxes(predicted(regions, settings, space, voting_iou), scores.device)
    cells = rows_where(is_high.flatten(), num_candidates)
    rows, labels = cells // len(space), cells % len(space)
    boxes = clip_boxes_to_image(torch.cat(list(regions.boxes_xyxy))[rows, labels], regions.sizes_hw[0][0])
    found = _Found(boxes, image_of[rows] * len(space) + labels, scores[rows, labels], image_of[rows])
    pairs = _Pairs.of(found, num_pairs)
    chosen = _chosen_places(found, pairs, settings, passes, num_images)
    votes = found.scores * is_solid(found.boxes_xyxy)
    voted = voted_among_pairs(*pairs, found.boxes_xyxy, votes, voting_iou)
    kept = F.pad(voted, (0, 0, 0, 1))[chosen.rows]
    return Detected(
        in_original_pixels(kept, regions.sizes_hw),
        F.pad(labels, (0, 1))[chosen.rows],
        F.pad(found.scores, (0, 1))[chosen.rows],
        F.pad(scores, (0, 0, 0, 1))[F.pad(rows, (0, 1), value=len(scores))[chosen.rows]],
        chosen.rows < num_candidates,
        chosen.is_settled,
        space,
    )


class _Found(NamedTuple):
    """Candidates of all images: boxes (C, 4) in pixels of resized images, (C,) groups (an image and a class), scores, images."""

    boxes_xyxy: Tensor
    groups: Tensor
    scores: Tensor
    images: Tensor


class _Pairs(NamedTuple):
    """All pairs of candidates of one group, each once: (P,) rows of both, and their IoU."""

    first: Tensor
    second: Tensor
    iou: Tensor

    @classmethod
    def of(cls, found: _Found, num_pairs: int) -> _Pairs:
        order, first, second = pairs_in_groups(found.groups, num_pairs)
        first, second = order[first], order[second]
        return cls(first, second, iou_of_pairs(found.boxes_xyxy, first, second))


class _Chosen(NamedTuple):
    """Rows (B, N) of candidates, best first in each image, C where a place is left; () whether suppression is settled."""

    rows: Tensor
    is_settled: Tensor


def _chosen_places(found: _Found, pairs: _Pairs, settings: DetectorSettings, passes: int, num_images: int) -> _Chosen:
    """Those of each image that class-wise suppression leaves, the best."""
    count, most, scores = len(found.scores), settings.max_detections, found.scores
    first, second, iou = pairs
    by_score = scores.argsort(descending=True, stable=True)
    rank = torch.empty_like(by_score)
    rank[by_score] = torch.arange(count, device=rank.device)
    first_wins = rank[first] < rank[second]
    better, other = torch.where(first_wins, first, second), torch.where(first_wins, second, first)
    suppression = Suppression(better, other, iou > settings.nms_iou, is_solid(found.boxes_xyxy))
    for _ in range(0, passes, PASSES):
        suppression.advance()
    by_image = order_by_image(found.images, scores)
    kept, images = suppression.kept[by_image], found.images[by_image]
    place = kept.cumsum(0) - kept.long()
    place = place - place[torch.searchsorted(images, images)]
    slot = torch.where(kept & (place < most), images * most + place, num_images * most)
    rows = torch.full((num_images * most + 1,), count, device=slot.device).scatter(0, slot, by_image)
    return _Chosen(rows[:-1].view(num_images, most), suppression.is_settled)


def keep_detections(
    boxes_xyxy: Tensor,
    class_scores: Tensor,
    sizes_hw: tuple[tuple[int, int], tuple[int, int]],
    settings: DetectorSettings,
    space: LabelSpace,
    voting_iou: float = 1.0,
) -> LabeledBoxes:
    """The detections of one image, on the CPU, best first, in pixels of the original image.

    One region may give boxes for several classes: those whose score is above the threshold, after class-wise NMS.

    Args:
        boxes_xyxy: (R, K, 4) float32, the box of each region for each class, in pixels of the resized image.
        class_scores: (R, K) float32 in [0, 1], without background.
        sizes_hw: height and width of the resized and of the original image.
        settings: threshold, NMS and number of detections.
        space: the label space of the detector.
        voting_iou: see `TwoStagePrediction`.
    """
    regions, labels = torch.where(class_scores > settings.detection_threshold)
    boxes_xyxy = clip_boxes_to_image(boxes_xyxy[regions, labels], sizes_hw[0])
    scores = class_scores[regions, labels]
    solid = is_solid(boxes_xyxy)
    boxes_xyxy, scores, regions, labels = boxes_xyxy[solid], scores[solid], regions[solid], labels[solid]
    keep = batched_nms(boxes_xyxy, scores, labels, settings.nms_iou)[: settings.max_detections]
    voted = voted_boxes(keep, boxes_xyxy, labels, scores, voting_iou)
    return handed_out(voted, labels[keep], class_scores[regions[keep]], sizes_hw, space)
