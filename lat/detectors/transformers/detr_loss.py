"""The losses of transformers' RT-DETR and Deformable-DETR, with a weight for every ground-truth box.

Shape letters: B images, Q queries, K classes, G ground-truth boxes of an image, D don't-care boxes of an image, L decoder layers.
Boxes here are centre x, centre y, width and height as shares of the image. A target is a dict of `class_labels` (G,) int64,
`boxes` (G, 4) float32, `weights` (G,) float32 above 0, `dont_care` (D, 4) float32 and `supervised` (K,) bool, the classes that
the image supervises.

With w_g the weight of box g, query q matched to box g(q) and W = max(sum of w_g over the batch, 1), one decoder layer costs

    class = sum over q, k of r_q s_k C_qk / W        r_q = w_g(q) if q is matched, 0 if it is not and lies on a don't-care box,
    L1    = sum over matched q of w_g(q) L1_q / W          else 1;  s_k = 1 for a supervised class, else 0
    GIoU  = sum over matched q of w_g(q) (1 - GIoU_q) / W

where C_qk is the library's own class loss of one query and one class (varifocal for RT-DETR, focal for Deformable-DETR), and the
library has the number of boxes in place of W. A query lies on a don't-care box if half of its predicted box or more lies in it.
Don't-care boxes are never matched and start no denoising query. Denoising queries have the weights of the boxes that they
are made from, and G times W with G the number of denoising groups, as in the library. With all weights 1, no don't-care boxes and
all classes supervised, every term equals the library's. W is per process: under DDP gradients are averaged over processes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_convert, sigmoid_focal_loss
from transformers.loss.loss_deformable_detr import DeformableDetrHungarianMatcher, DeformableDetrImageLoss
from transformers.loss.loss_for_object_detection import box_iou, generalized_box_iou
from transformers.loss.loss_rt_detr import RTDetrLoss

from lat.core.boxes import lie_in_dont_care

Target = dict[str, Tensor]
Outputs = dict[str, Any]  # `logits` (B, Q, K) and `pred_boxes` (B, Q, 4) of one layer; other layers under the library's keys
Matches = list[tuple[Tensor, Tensor]]  # per image, the queries (G,) and boxes (G,) that are matched to each other


class _WeightedLoss:
    """Shared by both losses; must precede the library's class among the bases."""

    share: float  # ratio of the normaliser W to the library's, the number of boxes

    def forward(self, outputs: Outputs, targets: list[Target]) -> dict[str, Tensor]:
        """Every term of the loss, under the library's names."""
        weights = torch.cat([target["weights"] for target in targets])
        self.share = max(weights.sum().item(), 1.0) / max(len(weights), 1)
        result: dict[str, Tensor] = super().forward(outputs, targets)  # type: ignore[misc]
        return result

    def get_loss(self, loss: str, outputs: Outputs, targets: list[Target], indices: Matches, num_boxes: float) -> Any:
        """One kind of loss of one layer."""
        return super().get_loss(loss, outputs, targets, indices, num_boxes * self.share)  # type: ignore[misc]

    def loss_boxes(self, outputs: Outputs, targets: list[Target], indices: Matches, num_boxes: float) -> dict[str, Tensor]:
        """L1 and GIoU loss of the matched queries of one layer."""
        predicted = outputs["pred_boxes"][_matched_queries(indices)]
        wanted, weights = _matched("boxes", targets, indices), _matched("weights", targets, indices)
        distance = F.l1_loss(predicted, wanted, reduction="none") * weights[:, None]
        overlap = torch.diag(generalized_box_iou(_corners(predicted), _corners(wanted)))
        return {"loss_bbox": distance.sum() / num_boxes, "loss_giou": ((1 - overlap) * weights).sum() / num_boxes}


class WeightedRTDetrLoss(_WeightedLoss, RTDetrLoss):
    """RT-DETR's loss with weights, also for RT-DETR v2. Its terms already include the factors of the configuration.

    Source: Zhao et al., DETRs Beat YOLOs on Real-time Object Detection (2024); Zhang et al., VarifocalNet (2021), equation 2.
    """

    def loss_labels_vfl(
        self, outputs: Outputs, targets: list[Target], indices: Matches, num_boxes: float, log: bool = True
    ) -> dict[str, Tensor]:
        """Varifocal loss of one layer: a matched query's target score is the IoU of its box, that of all others is 0."""
        logits, queries = outputs["logits"], _matched_queries(indices)
        ious, _ = box_iou(_corners(outputs["pred_boxes"][queries].detach()), _corners(_matched("boxes", targets, indices)))
        is_class = _one_hot_classes(logits, targets, indices)
        wanted = torch.zeros_like(logits)
        wanted[queries] = torch.diag(ious).to(logits.dtype)[:, None] * is_class[queries]
        focus = self.alpha * logits.detach().sigmoid().pow(self.gamma) * (1 - is_class) + wanted
        loss = F.binary_cross_entropy_with_logits(logits, wanted, weight=focus, reduction="none")
        loss = loss * _element_weights(outputs, targets, indices)
        return {"loss_vfl": loss.mean(1).sum() * logits.shape[1] / num_boxes}


class WeightedDeformableDetrLoss(_WeightedLoss, DeformableDetrImageLoss):
    """Deformable-DETR's loss with weights; its terms do not yet include the factors of the configuration.

    Source: Zhu et al., Deformable DETR (2021).
    """

    def loss_labels(self, outputs: Outputs, targets: list[Target], indices: Matches, num_boxes: float) -> dict[str, Tensor]:
        """Focal loss of one layer."""
        logits = outputs["logits"]
        loss = sigmoid_focal_loss(logits, _one_hot_classes(logits, targets, indices), alpha=self.focal_alpha, gamma=2)
        loss = loss * _element_weights(outputs, targets, indices)
        return {"loss_ce": loss.mean(1).sum() / num_boxes * logits.shape[1]}


def rtdetr_losses(
    logits: Tensor,
    labels: list[Target],
    device: torch.device,
    pred_boxes: Tensor,
    config: Any,
    *of_layers: Tensor,
    **of_queries: Any,
) -> tuple[Tensor, dict[str, Tensor], None]:
    """The `loss_function` of a transformers RT-DETR model: returns the sum of all terms, and the terms.

    Args:
        logits: (B, denoising and other queries, K) of the last layer.
        labels: the targets.
        device: not looked at.
        pred_boxes: (B, denoising and other queries, 4) of the last layer.
        config: the configuration of the model.
        of_layers: (B, L, denoising and other queries, K) logits of each layer, and its boxes (B, L, ..., 4).
        of_queries: `enc_topk_logits` (B, Q, K) and `enc_topk_bboxes` (B, Q, 4) of the encoder's proposals;
            `denoising_meta_values`: which queries are for denoising, or None if none are.
    """
    outputs_class, outputs_coord = of_layers
    denoising_meta_values = of_queries["denoising_meta_values"]
    sizes = [0, logits.shape[1]] if denoising_meta_values is None else denoising_meta_values["dn_num_split"]
    noisy_logits, all_logits = outputs_class.split(sizes, dim=2)
    noisy_boxes, all_boxes = outputs_coord.split(sizes, dim=2)
    outputs: Outputs = {"logits": all_logits[:, -1], "pred_boxes": all_boxes[:, -1]}
    if config.auxiliary_loss:
        outputs["auxiliary_outputs"] = [
            *_layers(all_logits[:, :-1], all_boxes[:, :-1]),
            {"logits": of_queries["enc_topk_logits"], "pred_boxes": of_queries["enc_topk_bboxes"]},
        ]
        if denoising_meta_values is not None:
            outputs["dn_auxiliary_outputs"] = _layers(noisy_logits, noisy_boxes)
            outputs["denoising_meta_values"] = denoising_meta_values
    terms = WeightedRTDetrLoss(config)(outputs, labels)  # type: ignore[no-untyped-call]
    return torch.stack(list(terms.values())).sum(), terms, None


def deformable_detr_losses(
    logits: Tensor,
    labels: list[Target],
    device: torch.device,
    pred_boxes: Tensor,
    config: Any,
    *of_layers: Tensor,
    **_: Any,
) -> tuple[Tensor, dict[str, Tensor], None]:
    """The `loss_function` of a transformers Deformable-DETR model: returns the sum of all terms, and the terms.

    Args:
        logits: (B, Q, K) of the last layer.
        labels: the targets.
        device: not looked at.
        pred_boxes: (B, Q, 4) of the last layer.
        config: the configuration of the model.
        of_layers: (L, B, Q, K) logits and (L, B, Q, 4) boxes of each layer.
    """
    outputs_class, outputs_coord = of_layers
    outputs: Outputs = {"logits": logits, "pred_boxes": pred_boxes}
    if config.auxiliary_loss:
        outputs["auxiliary_outputs"] = _layers(outputs_class[:-1].transpose(0, 1), outputs_coord[:-1].transpose(0, 1))
    matcher = DeformableDetrHungarianMatcher(config.class_cost, config.bbox_cost, config.giou_cost)
    loss = WeightedDeformableDetrLoss(matcher, config.num_labels, config.focal_alpha, ["labels", "boxes"])  # type: ignore[no-untyped-call]
    factors = {"ce": 1, "bbox": config.bbox_loss_coefficient, "giou": config.giou_loss_coefficient}
    terms = {name: value * factors[name.split("_")[1]] for name, value in loss(outputs, labels).items()}
    return torch.stack(list(terms.values())).sum(), terms, None


def summed_over_layers(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sum the terms over layers into one per kind of loss, and those of denoising queries into one.

    The names are the same for every batch: `loss_denoising` is 0 if there was nothing to denoise.
    """
    summed: dict[str, Tensor] = {}
    for name, value in terms.items():
        kind = "loss_denoising" if "_dn_" in name else "_".join(name.split("_")[:2])
        summed[kind] = summed[kind] + value if kind in summed else value
    if "loss_vfl" in summed:
        summed.setdefault("loss_denoising", torch.zeros_like(summed["loss_vfl"]))
    return summed


def _layers(logits: Tensor, boxes: Tensor) -> list[Outputs]:
    """(B, L, Q, K) and (B, L, Q, 4) as one dict per layer."""
    return [{"logits": one, "pred_boxes": other} for one, other in zip(logits.unbind(1), boxes.unbind(1), strict=True)]


def _corners(boxes: Tensor) -> Tensor:
    result: Tensor = box_convert(boxes, "cxcywh", "xyxy")
    return result


def _matched_queries(indices: Matches) -> tuple[Tensor, Tensor]:
    """Image and query of every match, (M,) int64 each."""
    images = torch.cat([torch.full_like(queries, i) for i, (queries, _) in enumerate(indices)])
    return images, torch.cat([queries for queries, _ in indices])


def _matched(name: str, targets: list[Target], indices: Matches) -> Tensor:
    """(M, ...): one field of every matched box."""
    return torch.cat([target[name][boxes] for target, (_, boxes) in zip(targets, indices, strict=True)])


def _one_hot_classes(logits: Tensor, targets: list[Target], indices: Matches) -> Tensor:
    """(B, Q, K) like the logits: 1 at the class of each query's matched box."""
    is_class = torch.zeros_like(logits)
    images, queries = _matched_queries(indices)
    is_class[images, queries, _matched("class_labels", targets, indices)] = 1
    return is_class


def _element_weights(outputs: Outputs, targets: list[Target], indices: Matches) -> Tensor:
    """(B, Q, K) float32: the weight r_q s_k of each query's and class's loss."""
    predicted = _corners(outputs["pred_boxes"].detach())
    of_query = predicted.new_ones(predicted.shape[:2])
    for row, boxes, target in zip(of_query, predicted, targets, strict=True):
        row[lie_in_dont_care(boxes, _corners(target["dont_care"]))] = 0.0
    of_query[_matched_queries(indices)] = _matched("weights", targets, indices)
    supervised = torch.stack([target["supervised"] for target in targets])
    return of_query[:, :, None] * supervised[:, None]
