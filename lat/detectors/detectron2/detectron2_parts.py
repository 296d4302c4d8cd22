"""Parts of a Faster R-CNN that Detectron2 lacks, and the construction of all parts.

Shape letters: A anchors, R regions, K classes; background is the last index, as in Detectron2. Ground truth is an `Instances`
with `gt_boxes`, `gt_classes` (-1 for a don't-care box) and `gt_weights`, all in pixels of the resized image.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone, build_backbone, build_roi_heads
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.sampling import subsample_labels
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor, nn

from lat.core.boxes import lie_in_dont_care
from lat.detectors.detectron2.detectron2_config import wrong_config
from lat.detectors.region_pooling import SingleLevelRoIAlign
from lat.detectors.small_resnet import SmallResNet


@BACKBONE_REGISTRY.register()
class LatSmallResNet(Backbone):
    """`SmallResNet` as a backbone of Detectron2, with levels p2, p3 and p4 of stride 4, 8 and 16.

    Args:
        config: ignored, as is `input_shape`: Detectron2's registry passes both to every backbone.
    """

    def __init__(self, config: CfgNode, input_shape: ShapeSpec) -> None:
        super().__init__()
        self.network = SmallResNet()

    @property
    def size_divisibility(self) -> int:
        """Images are padded to multiples of the coarsest stride."""
        return self.network.strides[-1]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map images (B, 3, H, W) to {"p2", "p3", "p4"}, each (B, C, H / stride, W / stride)."""
        return dict(zip(self.output_shape(), self.network(images).values(), strict=True))

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each level."""
        strides = self.network.strides
        return {f"p{level}": ShapeSpec(self.network.out_channels, stride=stride) for level, stride in enumerate(strides, 2)}


class WeightedRPN(RPN):
    """Detectron2's region proposal network, where anchors on a don't-care box are neither object nor background.

    They are if they match it, or lie in it by half of their own area, and match no other box.
    """

    @torch.no_grad()
    def label_and_sample_anchors(self, anchors: list[Boxes], gt_instances: list[Instances]) -> tuple[list[Tensor], list[Tensor]]:
        """For each image the labels (A,) int8 (1 object, 0 background, -1 ignored or not sampled) and boxes (A, 4) of anchors."""
        all_anchors = Boxes.cat(anchors)
        matched = [self._match(all_anchors, target) for target in gt_instances]
        return [self._sampled(labels) for labels, _ in matched], [boxes for _, boxes in matched]

    def _sampled(self, labels: Tensor) -> Tensor:
        """The same labels (A,), -1 for anchors that are not sampled."""
        objects, background = subsample_labels(labels, self.batch_size_per_image, self.positive_fraction, 0)
        sampled = torch.full_like(labels, -1)
        sampled[objects], sampled[background] = 1, 0
        return sampled

    def _match(self, anchors: Boxes, target: Instances) -> tuple[Tensor, Tensor]:
        iou, counts = pairwise_iou(target.gt_boxes, anchors), target.gt_classes >= 0
        nearest, labels = self.anchor_matcher(iou)
        if not counts.all():
            labels[(labels == 1) & ~counts[nearest]] = -1
            labels[(labels == 0) & lie_in_dont_care(anchors.tensor, target.gt_boxes.tensor[~counts])] = -1
            match, kinds = self.anchor_matcher(iou[counts])
            objects = kinds == 1
            nearest[objects], labels[objects] = counts.nonzero()[match[objects], 0], 1
        if self.anchor_boundary_thresh >= 0:
            labels[~anchors.inside_box(target.image_size, self.anchor_boundary_thresh)] = -1
        return labels, target.gt_boxes.tensor[nearest] if len(target) else torch.zeros_like(anchors.tensor)


def apart_from_dont_care(proposals: Instances, truth: Instances, match_iou: float) -> tuple[Instances, Instances]:
    """The proposals of an image less those that lie in a don't-care box by half of their own area, unless they match another.

    Args:
        proposals: with `proposal_boxes`.
        truth: with `gt_classes`, -1 for don't-care.
        match_iou: least IoU with a box that counts.

    Returns:
        The proposals and the boxes that count, as Detectron2's heads sample from them.
    """
    counts = truth.gt_classes >= 0
    if counts.all():
        return proposals, truth
    ignored = lie_in_dont_care(proposals.proposal_boxes.tensor, truth.gt_boxes[~counts].tensor)
    matched = (pairwise_iou(proposals.proposal_boxes, truth.gt_boxes[counts]) >= match_iou).any(dim=1)
    return proposals[matched | ~ignored], truth[counts]


class SingleLevelPooler(nn.Module):
    """The interface of Detectron2's pooler around `SingleLevelRoIAlign`; equal to its `ROIAlign`, faster to train on a CPU."""

    def __init__(self, stride: int, output_size: int, sampling_ratio: int) -> None:
        super().__init__()
        self.pool = SingleLevelRoIAlign("map", stride, output_size, sampling_ratio)

    def forward(self, features: list[Tensor], boxes: list[Boxes]) -> Tensor:
        """Pooled regions (R, C, S, S) of one map (B, C, h, w) from the boxes of each image."""
        result: Tensor = self.pool({"map": features[0]}, [image_boxes.tensor for image_boxes in boxes], [])
        return result


def build_parts(config: CfgNode, where: str) -> dict[str, Any]:
    """Backbone, proposal network and ROI heads, as arguments of Detectron2's `GeneralizedRCNN`.

    Raises:
        InputError: naming `where`, if a name in the configuration is in no registry or its parts do not fit.
    """
    with wrong_config(where):
        backbone = build_backbone(config)
        shapes = backbone.output_shape()
        heads = build_roi_heads(config, shapes)
        levels, box_head = config.MODEL.ROI_HEADS.IN_FEATURES, config.MODEL.ROI_BOX_HEAD
        if len(levels) == 1 and box_head.POOLER_TYPE == "ROIAlign" and box_head.POOLER_SAMPLING_RATIO > 0:
            pooler = SingleLevelPooler(shapes[levels[0]].stride, box_head.POOLER_RESOLUTION, box_head.POOLER_SAMPLING_RATIO)
            setattr(heads, "pooler" if hasattr(heads, "pooler") else "box_pooler", pooler)
        return {
            "backbone": backbone,
            "proposal_generator": WeightedRPN(config, shapes),
            "roi_heads": heads,
            "pixel_mean": config.MODEL.PIXEL_MEAN,
            "pixel_std": config.MODEL.PIXEL_STD,
            "input_format": config.INPUT.FORMAT,
        }


def region_predictions(heads: Any, features: dict[str, Tensor], regions: list[Instances]) -> tuple[Tensor, Tensor]:
    """Class logits (R, K + 1) and box deltas (R, 4K) of all regions, float32 even in mixed precision.

    Args:
        heads: `StandardROIHeads` or `Res5ROIHeads`.
        features: maps of the backbone.
        regions: the regions of each image, with `proposal_boxes`.
    """
    maps = [features[name] for name in heads.in_features]
    boxes = [image_regions.proposal_boxes for image_regions in regions]
    if hasattr(heads, "res5"):
        regional = heads.res5(heads.pooler(maps, boxes)).mean(dim=[2, 3])
    else:
        regional = heads.box_head(heads.box_pooler(maps, boxes))
    logits, deltas = heads.box_predictor(regional)
    return logits.float(), deltas.float()


def weighted_region_losses(predictor: Any, predictions: tuple[Tensor, Tensor], regions: list[Instances]) -> dict[str, Tensor]:
    """Detectron2's losses of sampled regions, with weighted classification; for the class y_r and the weight w_r of region r:

        loss_cls = -sum_r w_r log softmax(logits_r)[y_r] / sum_r w_r

    A region matched to a box of weight w has weight w, a background region 1. With all weights 1 this is Detectron2's own.

    Args:
        predictor: the `FastRCNNOutputLayers` that made the predictions.
        predictions: logits (R, K + 1) and deltas.
        regions: the sampled regions of each image, with `gt_classes`, and `gt_weights` if the image has boxes.
    """
    losses: dict[str, Tensor] = predictor.losses(predictions, regions)
    weights = torch.cat([_region_weights(image_regions, predictor.num_classes) for image_regions in regions])
    if (weights != 1).any():
        classes = torch.cat([image_regions.gt_classes for image_regions in regions])
        entropy = F.cross_entropy(predictions[0], classes, reduction="none")
        mean = (weights * entropy).sum() / weights.sum().clamp(min=1e-6)
        losses["loss_cls"] = mean * predictor.loss_weight.get("loss_cls", 1.0)
    return losses


def _region_weights(regions: Instances, background: int) -> Tensor:
    ones = torch.ones(len(regions), device=regions.gt_classes.device)
    return torch.where(regions.gt_classes < background, regions.gt_weights, ones) if regions.has("gt_weights") else ones
