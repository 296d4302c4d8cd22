"""The two trained parts of torchvision's Faster R-CNN, with a weight for every ground-truth box.

Shape letters: A anchors, G ground-truth boxes, R regions, K classes; index 0 is background here, as in torchvision.
A target is a dict of `boxes` (G, 4) float32, `labels` (G,) int64 in 1..K (-1 for a don't-care box) and `weights` (G,) float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from lat.core.losses import null_bce

Target = dict[str, Tensor]


class FullPrecisionRPNHead(RPNHead):
    """torchvision's proposal head with float32 outputs: boxes decoded in bfloat16 would be off by whole pixels."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        objectness, deltas = super().forward(x)
        return [level.float() for level in objectness], [level.float() for level in deltas]


class WeightedRegionProposalNetwork(RegionProposalNetwork):
    """torchvision's region proposal network, where anchors matched to a don't-care box are neither object nor background."""

    def assign_targets_to_anchors(self, anchors: list[Tensor], targets: list[Target]) -> tuple[list[Tensor], list[Tensor]]:
        """For each image the labels (A,) float32 (1 object, 0 background, -1 ignored) and matched boxes (A, 4) of its anchors."""
        matched = [self._match(*pair) for pair in zip(anchors, targets, strict=True)]
        return [labels for labels, _ in matched], [boxes for _, boxes in matched]

    def _match(self, anchors: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        boxes = target["boxes"]
        if len(boxes) == 0:
            return anchors.new_zeros(len(anchors)), torch.zeros_like(anchors)
        match = self.proposal_matcher(self.box_similarity(boxes, anchors))
        nearest = match.clamp(min=0)
        labels = (match >= 0).float()
        labels[match == self.proposal_matcher.BETWEEN_THRESHOLDS] = -1.0
        labels[(match >= 0) & (target["labels"][nearest] < 0)] = -1.0
        return labels, boxes[nearest]

    def compute_loss(
        self, objectness: Tensor, pred_bbox_deltas: Tensor, labels: list[Tensor], regression_targets: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Objectness and box loss as in torchvision; zero, with a gradient, if every anchor is ignored."""
        if not any((image_labels >= 0).any() for image_labels in labels):
            return objectness.sum() * 0.0, pred_bbox_deltas.sum() * 0.0
        return super().compute_loss(objectness, pred_bbox_deltas, labels, regression_targets)


class WeightedRoIHeads(RoIHeads):
    """torchvision's box head with a weight for every ground-truth box, and with full score vectors in prediction.

    Attributes:
        is_binary: True if every class has its own sigmoid (Null BCE) instead of the softmax; the background logit is then
            unused. Not in the state dict: set it before training and after loading.
        dropout: share of the box head's activations that training drops; not in the state dict either.
    """

    is_binary = False
    dropout = 0.0

    def losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_sizes: list[tuple[int, int]],
        targets: list[Target],
        class_masks: list[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Classification and box loss of regions sampled among the proposals and the ground truth.

        A region matched to a box of weight w has weight w, a background region 1; regions matched to a don't-care box are not
        sampled. For the formula see `weighted_box_losses`. With `class_masks`, (K,) bool per image, the softmax of a region
        covers only background and its image's classes, and so do the sigmoids its image's classes.
        """
        proposals, matched, labels, deltas = self.select_training_samples(proposals, targets)
        logits, predicted = self.logits_and_deltas(features, proposals, image_sizes)
        if class_masks is not None:
            logits = masked_logits(logits, class_masks, [len(regions) for regions in proposals])
        weights = torch.cat([_region_weights(*image) for image in zip(matched, labels, targets, strict=True)])
        found = weighted_box_losses(logits, predicted, torch.cat(labels), torch.cat(deltas), weights)
        if self.is_binary:
            found["loss_classifier"] = binary_class_loss(logits, torch.cat(labels), weights)
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


def masked_logits(logits: Tensor, class_masks: list[Tensor], counts: list[int]) -> Tensor:
    """Logits (R, K + 1) with minus infinity for classes that the region's image does not have; background is unchanged.

    Args:
        logits: (R, K + 1), background first.
        class_masks: (K,) bool per image, True for the classes that it has.
        counts: number of regions per image, summing to R.
    """
    of_image = torch.stack(class_masks).to(logits.device)
    allowed = torch.cat([torch.ones_like(of_image[:, :1]), of_image], dim=1)
    of_region = allowed.repeat_interleave(torch.tensor(counts, device=logits.device), dim=0)
    return logits.masked_fill(~of_region, float("-inf"))


def binary_class_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """`null_bce` of regions: logits (R, K + 1) with minus infinity for masked classes, labels (R,) in 0..K, weights (R,)."""
    of_classes = logits[:, 1:]
    allowed = of_classes.isfinite()
    return null_bce(of_classes.masked_fill(~allowed, 0.0), (labels - 1) % logits.shape[1], allowed, weights)


def _region_weights(matched: Tensor, labels: Tensor, target: Target) -> Tensor:
    """Weights (R,) of the sampled regions of one image: that of the matched box, 1 for background."""
    ones = torch.ones(len(labels), device=labels.device)
    if len(target["weights"]) == 0:
        return ones
    return torch.where(labels > 0, target["weights"][matched], ones)


def weighted_box_losses(
    logits: Tensor, deltas: Tensor, labels: Tensor, wanted_deltas: Tensor, weights: Tensor
) -> dict[str, Tensor]:
    """Weighted loss of sampled regions; with p_r the softmax of the logits of region r, y_r its class and w_r its weight:

        loss_classifier = -sum_r w_r log p_r[y_r] / sum_r w_r
        loss_box_reg    = sum over r with y_r > 0 of smooth-L1(deltas_r[y_r] - wanted_r) / R

    With all weights 1 this is torchvision's `fastrcnn_loss`. Without any region both are zero, with a gradient.

    Args:
        logits: (R, K + 1) float32.
        deltas: (R, 4K + 4) float32, four for each class and for background.
        labels: (R,) int64 in 0..K.
        wanted_deltas: (R, 4) float32; rows of background regions are ignored.
        weights: (R,) float32.
    """
    if len(labels) == 0:
        return {"loss_classifier": logits.sum() * 0.0, "loss_box_reg": deltas.sum() * 0.0}
    entropy = F.cross_entropy(logits, labels, reduction="none")
    matched = torch.where(labels > 0)[0]
    of_class = deltas.reshape(len(labels), -1, 4)[matched, labels[matched]]
    distance = F.smooth_l1_loss(of_class, wanted_deltas[matched], beta=1 / 9, reduction="sum")
    return {
        "loss_classifier": (weights * entropy).sum() / weights.sum().clamp(min=1e-6),
        "loss_box_reg": distance / len(labels),
    }
