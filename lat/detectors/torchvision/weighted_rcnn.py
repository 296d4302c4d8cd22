"""The two trained parts of torchvision's Faster R-CNN, with a weight for every ground-truth box.

Shape letters: A anchors, G ground-truth boxes, R regions, K classes; index 0 is background here, as in torchvision.
A target is a dict of `boxes` (G, 4) float32, `labels` (G,) int64 in 1..K (-1 for a don't-care box) and `weights` (G,) float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers
from torchvision.ops import box_iou

from lat.core.boxes import lie_in_dont_care
from lat.core.suppression import until_settled
from lat.detectors.torchvision.proposal_selection import (
    DeviceBoxCoder,
    ProposalRules,
    Regions,
    choose_regions,
    region_lists,
)
from lat.detectors.torchvision.region_losses import binary_class_loss, masked_logits, weighted_box_losses

Target = dict[str, Tensor]


class ScoredAnchors(NamedTuple):
    """What a proposal network says of the anchors of B images.

    Attributes:
        objectness: (B A, 1) float32 logits.
        deltas: (B A, 4) float32.
        anchors: (A, 4) float32 for each image.
        level_sizes: anchors of each level, summing to A.
    """

    objectness: Tensor
    deltas: Tensor
    anchors: list[Tensor]
    level_sizes: list[int]


class FullPrecisionRPNHead(RPNHead):
    """torchvision's proposal head with float32 outputs: boxes decoded in bfloat16 would be off by whole pixels."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        objectness, deltas = super().forward(x)
        return [level.float() for level in objectness], [level.float() for level in deltas]


class RegionSamples(NamedTuple):
    """Regions that train a box head.

    Attributes:
        boxes_xyxy: (R, 4) float32 for each image.
        matched: (R,) int64 for each image, the box that matches.
        labels: (R,) int64 in 0..K for each image.
        deltas: (R, 4) float32 for each image, from the region to that box.
        num_objects: how many have a label above 0, of all images. None if it is not known: then a device is asked.
    """

    boxes_xyxy: list[Tensor]
    matched: list[Tensor]
    labels: list[Tensor]
    deltas: list[Tensor]
    num_objects: int | None = None


class WeightedRegionProposalNetwork(RegionProposalNetwork):
    """torchvision's region proposal network, where anchors that `match_around_dont_care` ignores are not sampled.

    A device chooses the proposals of all images and levels at once.

    Args:
        parts: what torchvision's takes, and `more` by name.
    """

    box_coder: Any

    def __init__(self, *parts: Any, **more: Any) -> None:
        super().__init__(*parts, **more)
        self.box_coder = DeviceBoxCoder(self.box_coder)

    def choose(self, images: ImageList, features: dict[str, Tensor], passes: int) -> Regions:
        """The proposals as `choose_regions` finds them, without gradients."""
        return self.chosen(self.scored(images, features), images.image_sizes, passes)

    def scored(self, images: ImageList, features: dict[str, Tensor]) -> ScoredAnchors:
        """What the network says of all anchors."""
        levels = list(features.values())
        objectness, deltas = self.head(levels)
        anchors = self.anchor_generator(images, levels)
        level_sizes = [one[0].numel() for one in objectness]
        objectness, deltas = concat_box_prediction_layers(objectness, deltas)
        return ScoredAnchors(objectness, deltas, anchors, level_sizes)

    def chosen(self, scored: ScoredAnchors, sizes_hw: list[tuple[int, int]], passes: int) -> Regions:
        """The proposals among anchors, without gradients."""
        num_images = len(scored.anchors)
        boxes = self.box_coder.decode(scored.deltas.detach(), scored.anchors).view(num_images, -1, 4)
        of_images = scored.objectness.detach().view(num_images, -1)
        return choose_regions(boxes, of_images, sizes_hw, scored.level_sizes, self._rules, passes)

    def filter_proposals(
        self,
        proposals: Tensor,
        objectness: Tensor,
        image_shapes: list[tuple[int, int]],
        num_anchors_per_level: list[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The boxes (R, 4) of each image among those of all anchors; their scores, which nothing needs, on a CPU alone."""
        if proposals.device.type == "cpu":
            chosen: tuple[list[Tensor], list[Tensor]]
            chosen = super().filter_proposals(proposals, objectness, image_shapes, num_anchors_per_level)
            return chosen
        of_images = objectness.detach().reshape(len(proposals), -1)

        def attempt(passes: int) -> list[Tensor] | None:
            return region_lists(choose_regions(proposals, of_images, image_shapes, num_anchors_per_level, self._rules, passes))

        return until_settled(attempt), []

    @property
    def _rules(self) -> ProposalRules:
        return ProposalRules(self.pre_nms_top_n(), self.post_nms_top_n(), self.nms_thresh, self.min_size, self.score_thresh)

    def assign_targets_to_anchors(self, anchors: list[Tensor], targets: list[Target]) -> tuple[list[Tensor], list[Tensor]]:
        """For each image the labels (A,) float32 (1 object, 0 background, -1 ignored) and matched boxes (A, 4) of its anchors."""
        matched = [self._match(*pair) for pair in zip(anchors, targets, strict=True)]
        return [labels for labels, _ in matched], [boxes for _, boxes in matched]

    def _match(self, anchors: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        boxes = target["boxes"]
        if len(boxes) == 0:
            return anchors.new_zeros(len(anchors)), torch.zeros_like(anchors)
        nearest, kinds = match_around_dont_care(self.proposal_matcher, anchors, boxes, target["labels"] > 0)
        return kinds.float(), boxes[nearest]

    def compute_loss(
        self, objectness: Tensor, pred_bbox_deltas: Tensor, labels: list[Tensor], regression_targets: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Objectness and box loss as in torchvision; zero, with a gradient, if every anchor is ignored."""
        if not any((image_labels >= 0).any() for image_labels in labels):
            return objectness.sum() * 0.0, pred_bbox_deltas.sum() * 0.0
        result: tuple[Tensor, Tensor] = super().compute_loss(objectness, pred_bbox_deltas, labels, regression_targets)
        return result


class WeightedRoIHeads(RoIHeads):
    """torchvision's box head with a weight for every ground-truth box, and with full score vectors in prediction.

    Args:
        is_binary: whether every class has a sigmoid of its own (Null BCE) in place of the softmax; the background logit then
            means nothing.
        dropout: share of the box head's activations that are dropped in training.
        parts: what torchvision's box head takes, and `more` by name.
    """

    box_coder: Any

    def __init__(self, *parts: Any, is_binary: bool = False, dropout: float = 0.0, **more: Any) -> None:
        super().__init__(*parts, **more)
        self.box_coder = DeviceBoxCoder(self.box_coder)
        self.is_binary, self.dropout = is_binary, dropout

    def assign_targets_to_proposals(
        self, proposals: list[Tensor], gt_boxes: list[Tensor], gt_labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """For each image the matched box (R,) int64 and the label (R,) int64 (0 background, -1 ignored) of its regions."""
        matched = [self._match(*image) for image in zip(proposals, gt_boxes, gt_labels, strict=True)]
        return [nearest for nearest, _ in matched], [labels for _, labels in matched]

    def _match(self, proposals: Tensor, boxes: Tensor, box_labels: Tensor) -> tuple[Tensor, Tensor]:
        if len(boxes) == 0:
            nothing = torch.zeros(len(proposals), dtype=torch.int64, device=proposals.device)
            return nothing, nothing.clone()
        nearest, kinds = match_around_dont_care(self.proposal_matcher, proposals, boxes, box_labels > 0)
        return nearest, torch.where(kinds == 1, box_labels[nearest], kinds)

    def losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_sizes: list[tuple[int, int]],
        targets: list[Target],
        class_masks: list[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Classification and box loss of regions sampled among the proposals and the ground truth.

        A region matched to a box of weight w has weight w, a background region 1; regions that `match_around_dont_care` ignores
        are not sampled. For the formula see `weighted_box_losses`. Where `class_masks` (K,) bool of each image are given, the
        softmax of a region is over background and the classes of its image alone, and so are the sigmoids over its classes.
        """
        samples = RegionSamples(*self.select_training_samples(proposals, targets))
        return self.sample_losses(features, samples, image_sizes, targets, class_masks)

    def sample_losses(
        self,
        features: dict[str, Tensor],
        samples: RegionSamples,
        image_sizes: list[tuple[int, int]],
        targets: list[Target],
        class_masks: list[Tensor] | None,
    ) -> dict[str, Tensor]:
        """`losses` of regions that were sampled already."""
        logits, predicted = self.logits_and_deltas(features, samples.boxes_xyxy, image_sizes)
        if class_masks is not None:
            logits = masked_logits(logits, class_masks, [len(regions) for regions in samples.boxes_xyxy])
        of_images = zip(samples.matched, samples.labels, targets, strict=True)
        weights, labels = torch.cat([_region_weights(*image) for image in of_images]), torch.cat(samples.labels)
        found = weighted_box_losses(logits, predicted, labels, torch.cat(samples.deltas), weights, samples.num_objects)
        if self.is_binary:
            found["loss_classifier"] = binary_class_loss(logits, labels, weights)
        return found

    def class_scores(self, logits: Tensor) -> Tensor:
        """Scores (R, K) in [0, 1] of logits (R, K + 1), without background."""
        return logits[:, 1:].sigmoid() if self.is_binary else logits.softmax(dim=1)[:, 1:].clamp(max=1.0)

    def logits_and_deltas(
        self, features: dict[str, Tensor], proposals: list[Tensor], image_sizes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """Class logits (R, K + 1) and box deltas (R, 4K + 4) of all regions, float32 even in mixed precision."""
        hidden = self.box_head(self.box_roi_pool(features, proposals, image_sizes))
        logits, deltas = self.box_predictor(F.dropout(hidden, self.dropout, self.training))
        return logits.float(), deltas.float()


def match_around_dont_care(matcher: Any, regions_xyxy: Tensor, boxes_xyxy: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Targets of anchors or regions (R, 4): objects if they match a box that counts, else ignored if they match a don't-care box
    or lie in one by half of their own area, else the matcher's result.

    Args:
        matcher: torchvision's, as its proposal network and its heads have one.
        regions_xyxy: anchors or regions.
        boxes_xyxy: (G, 4), at least one.
        counts: (G,) bool; False for don't-care boxes.

    Returns:
        The matched box (R,) int64, which means nothing for background, and (R,) int64: 1 object, 0 background, -1 ignored.
    """
    iou = box_iou(boxes_xyxy, regions_xyxy)
    match = matcher(iou)
    nearest, kinds = match.clamp(min=0), (match >= 0).long()
    kinds[match == matcher.BETWEEN_THRESHOLDS] = -1
    if counts.all():
        return nearest, kinds
    kinds[(match >= 0) & ~counts[nearest]] = -1
    kinds[(kinds == 0) & lie_in_dont_care(regions_xyxy, boxes_xyxy[~counts])] = -1
    if counts.any():
        match = matcher(iou[counts])
        objects = match >= 0
        nearest[objects], kinds[objects] = counts.nonzero()[match[objects], 0], 1
    return nearest, kinds


def _region_weights(matched: Tensor, labels: Tensor, target: Target) -> Tensor:
    """Weights (R,) of the sampled regions of one image: that of the matched box, 1 for background."""
    ones = torch.ones(len(labels), device=labels.device)
    if len(target["weights"]) == 0:
        return ones
    return torch.where(labels > 0, target["weights"][matched], ones)
