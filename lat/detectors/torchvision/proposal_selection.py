"""The proposals of a batch of images, chosen among anchors on a device: in steps whose sizes the host knows before.

Shape letters: B images, L pyramid levels, A anchors of an image, n candidates of a level, P places for proposals of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lat.core.boxes import clip_to_images
from lat.core.copies import numbers_on, to_host
from lat.core.group_suppression import kept_of_groups
from lat.core.suppression import PASSES


@dataclass(frozen=True)
class ProposalRules:
    """Which anchors become proposals.

    Attributes:
        per_level: the most candidates of an image and level, the most confident.
        most: proposals of an image.
        nms_iou: overlap up to which two of one level may stay.
        least_side: of a proposal, in pixels.
        least_score: confidence from which a candidate counts.
    """

    per_level: int
    most: int
    nms_iou: float
    least_side: float
    least_score: float


@dataclass(frozen=True, eq=False)
class Regions:
    """Proposals of B images, best first, in as many places for each.

    Attributes:
        boxes_xyxy: (B, P, 4) float32 in pixels of the resized image; zeros in places that are left.
        is_region: (B, P) bool, False for places that are left, which come last.
        is_settled: () bool. False if a chain of suppressions was so long that it takes more passes.
    """

    boxes_xyxy: Tensor
    is_region: Tensor
    is_settled: Tensor

    @property
    def counts(self) -> Tensor:
        """(B + 1,) int64: the proposals of each image, and whether they are settled."""
        return torch.cat([self.is_region.sum(dim=1), self.is_settled.long()[None]])


def choose_regions(
    boxes_xyxy: Tensor,
    objectness: Tensor,
    sizes_hw: Sequence[tuple[int, int]],
    level_sizes: Sequence[int],
    rules: ProposalRules,
    passes: int = PASSES,
) -> Regions:
    """The proposals that torchvision's `RegionProposalNetwork.filter_proposals` chooses, of all images and levels at once.

    Args:
        boxes_xyxy: (B, A, 4) float32, what each anchor was decoded to, level after level.
        objectness: (B, A) float32 logits.
        sizes_hw: height and width of each image.
        level_sizes: anchors of each level.
        rules: how many, and which.
        passes: see `kept_of_groups`.
    """
    longest = min(rules.per_level, max(level_sizes))
    frame = numbers_on(boxes_xyxy.device, list(sizes_hw))[:, None]
    candidates, scores = [], []
    for of_level, boxes in zip(objectness.split(list(level_sizes), 1), boxes_xyxy.split(list(level_sizes), 1), strict=True):
        logits, best = of_level.topk(min(rules.per_level, of_level.shape[1]), dim=1)
        left = longest - best.shape[1]
        scores.append(F.pad(logits.sigmoid(), (0, left), value=-1.0))
        candidates.append(F.pad(boxes.gather(1, best[..., None].expand(-1, -1, 4)), (0, 0, 0, left)))
    boxes, score = clip_to_images(torch.cat(candidates, dim=1), frame), torch.cat(scores, dim=1)
    is_large = (boxes[..., 2:] - boxes[..., :2] >= rules.least_side).all(dim=2)
    kept, is_settled = _kept_of_levels(boxes, is_large & (score >= rules.least_score), longest, rules.nms_iou, passes)
    ordered = score.masked_fill(~kept, -1.0).argsort(dim=1, descending=True, stable=True)[:, : rules.most]
    is_region = kept.gather(1, ordered)
    chosen = boxes.gather(1, ordered[..., None].expand(-1, -1, 4))
    return Regions(torch.where(is_region[..., None], chosen, 0.0), is_region, is_settled)


def _kept_of_levels(boxes: Tensor, alive: Tensor, longest: int, nms_iou: float, passes: int) -> tuple[Tensor, Tensor]:
    """What suppression leaves (B, L n) of candidates (B, L n, 4), those of each level best first, and whether it is settled."""
    groups, ranks = alive.reshape(-1, longest), torch.arange(longest, device=alive.device)
    kept, is_settled = kept_of_groups(boxes.reshape(-1, longest, 4), ranks.expand_as(groups), groups, nms_iou, passes=passes)
    return kept.view_as(alive), is_settled


def region_lists(regions: Regions) -> list[Tensor] | None:
    """The proposals (R_i, 4) of each image, for which the program waits once; None if they are not settled."""
    (numbers,) = to_host([regions.counts])
    *counts, is_settled = numbers.tolist()
    return [boxes[:count] for boxes, count in zip(regions.boxes_xyxy, counts, strict=True)] if is_settled else None


class DeviceBoxCoder:
    """A coder of boxes of torchvision, in whose place it stands; it copies no number to the device.

    Args:
        coder: torchvision's own.
    """

    def __init__(self, coder: Any) -> None:
        self.coder, self.weights, self.bbox_xform_clip = coder, coder.weights, coder.bbox_xform_clip

    def encode(self, reference_boxes: Sequence[Tensor], proposals: Sequence[Tensor]) -> Sequence[Tensor]:
        """Deltas of boxes to proposals, (R_i, 4) each, for each image."""
        counts = [len(of_image) for of_image in reference_boxes]
        deltas: Sequence[Tensor] = self.encode_single(torch.cat(list(reference_boxes)), torch.cat(list(proposals))).split(counts)
        return deltas

    def encode_single(self, reference_boxes: Tensor, proposals: Tensor) -> Tensor:
        """Deltas (R, 4) of boxes (R, 4) to proposals (R, 4), as torchvision's own."""
        sides, wanted = (boxes[:, 2:] - boxes[:, :2] for boxes in (proposals, reference_boxes))
        centres, wanted_centres = proposals[:, :2] + 0.5 * sides, reference_boxes[:, :2] + 0.5 * wanted
        away, ratio = (wanted_centres - centres), (wanted / sides).log()
        wx, wy, ww, wh = self.weights
        dx, dy = wx * away[:, :1] / sides[:, :1], wy * away[:, 1:] / sides[:, 1:]
        return torch.cat([dx, dy, ww * ratio[:, :1], wh * ratio[:, 1:]], dim=1)

    def decode(self, rel_codes: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        """Boxes (R, D, 4) of deltas (R, 4 D), in this or another shape, to the boxes of all images, (R_i, 4) each."""
        joined = torch.cat(list(boxes))
        if not len(joined):
            return self.decode_single(rel_codes, joined)
        return self.decode_single(rel_codes.reshape(len(joined), -1), joined).reshape(len(joined), -1, 4)

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Boxes (R, 4 D) of deltas (R, 4 D) to boxes (R, 4), as torchvision's own."""
        boxes = boxes.to(rel_codes.dtype)
        sides = boxes[:, 2:] - boxes[:, :2]
        centres = boxes[:, :2] + 0.5 * sides
        wx, wy, ww, wh = self.weights
        longest = self.bbox_xform_clip
        x = rel_codes[:, 0::4] / wx * sides[:, :1] + centres[:, :1]
        y = rel_codes[:, 1::4] / wy * sides[:, 1:] + centres[:, 1:]
        half_width = 0.5 * ((rel_codes[:, 2::4] / ww).clamp(max=longest).exp() * sides[:, :1])
        half_height = 0.5 * ((rel_codes[:, 3::4] / wh).clamp(max=longest).exp() * sides[:, 1:])
        return torch.stack((x - half_width, y - half_height, x + half_width, y + half_height), dim=2).flatten(1)
