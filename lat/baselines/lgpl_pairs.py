"""Draw the training pairs of LGPL: a region and a class, from an image of the target.

Shape letters: R regions, G target boxes of an image, K target classes, P drawn pairs. Boxes are in pixels of the resized image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from lat.baselines.baseline_settings import LgplSettings
from lat.core.boxes import lie_in_dont_care, move_sides, pairwise_iou
from lat.detectors.torchvision.weighted_rcnn import Target


@dataclass(frozen=True, eq=False)
class Pairs:
    """Regions, each with a class.

    Attributes:
        regions_xyxy: (P, 4) float32.
        classes: (P,) int64 in 0..K-1.
        valid: (P,) bool, True if there is a target box of the class at the region.
        boxes_xyxy: (P, 4) float32, that target box; the region itself if there is none.
        weights: (P,) float32, weight of that target box; 1 if there is none.
    """

    regions_xyxy: Tensor
    classes: Tensor
    valid: Tensor
    boxes_xyxy: Tensor
    weights: Tensor


def match_to_classes(regions_xyxy: Tensor, target: Target, num_classes: int, match_iou: float) -> tuple[Tensor, Tensor]:
    """Whether regions (R, 4) are valid for each class, (R, K) bool, and whether that is known, (R, K) bool.

    A region is valid for every class with a box whose IoU with it is `match_iou` or more. For the other classes it is invalid,
    unless half of it lies in a don't-care box of any class.
    """
    is_certain = target["labels"] > 0
    iou = pairwise_iou(regions_xyxy, target["boxes"][is_certain])
    classes = (target["labels"][is_certain] - 1).expand_as(iou)
    best_iou = iou.new_zeros(len(regions_xyxy), num_classes).scatter_reduce(1, classes, iou, "amax")
    valid = best_iou >= match_iou
    doubtful = lie_in_dont_care(regions_xyxy, target["boxes"][~is_certain])
    return valid, valid | ~doubtful[:, None]


def draw_pairs(regions_xyxy: Tensor, target: Target, num_classes: int, settings: LgplSettings) -> Pairs:
    """Up to `pairs_per_image` pairs, with replacement, from torch's global generator.

    The class of each is drawn uniformly from all K. Then a valid region of the class is drawn with probability `valid_share`,
    otherwise an invalid one; if the image has none of one kind, one of the other kind is drawn.
    """
    valid, counted = match_to_classes(regions_xyxy, target, num_classes, settings.match_iou)
    invalid = (counted & ~valid).T
    valid = valid.T  # (K, R)
    count, device = settings.pairs_per_image, regions_xyxy.device
    classes = torch.randint(num_classes, (count,), device=device)
    wants_valid = torch.rand(count, device=device) < settings.valid_share
    takes_valid = torch.where(wants_valid, valid.any(dim=1)[classes], ~invalid.any(dim=1)[classes])
    candidates = torch.where(takes_valid[:, None], valid[classes], invalid[classes])
    possible = candidates.any(dim=1)
    chances = torch.rand(candidates.shape, device=device) + 1.0
    rows = (candidates * chances)[possible].max(dim=1).indices if possible.any() else classes[:0]
    return _pairs(regions_xyxy[rows], classes[possible], takes_valid[possible], target)


def _pairs(regions_xyxy: Tensor, classes: Tensor, valid: Tensor, target: Target) -> Pairs:
    """The pairs, each valid one with the target box of its class that has the highest IoU."""
    boxes, weights = regions_xyxy.clone(), torch.ones(len(regions_xyxy), device=regions_xyxy.device)
    if valid.any():
        is_of_class = target["labels"] == classes[valid, None] + 1
        nearest = (pairwise_iou(regions_xyxy[valid], target["boxes"]) * is_of_class).argmax(dim=1)
        boxes[valid], weights[valid] = target["boxes"][nearest], target["weights"][nearest]
    return Pairs(regions_xyxy, classes, valid, boxes, weights)


def jittered_copies(target: Target, size_hw: tuple[int, int], settings: LgplSettings) -> Tensor:
    """Jittered copies (copies * G, 4) of a target's boxes that are not don't-care, from torch's global generator."""
    boxes = target["boxes"][target["labels"] > 0].repeat(settings.jittered_copies, 1)
    shares = (2.0 * torch.rand(boxes.shape, device=boxes.device) - 1.0) * settings.jitter_scale
    result: Tensor = clip_boxes_to_image(move_sides(boxes, shares), size_hw)
    return result
