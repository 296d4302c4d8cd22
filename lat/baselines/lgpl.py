"""Label-guided pseudo-labelling (LGPL): which of a source's boxes the target would have drawn, and where.

One image encoder is trained for two things at once: a region proposal network learns from the source's boxes where that protocol
draws boxes, and a head learns from the target's labels whether a proposal is valid for a class and how to move it. The
source's human boxes then pass through the head as if they were proposals. Boxes are removed and moved; none is added.

Source: Liao et al., Translating Labels to Solve Annotation Mismatches Across Object Detection Datasets (2024). Its code is not
public: the drawing of pairs, the shape of the head and the thresholds (`lat.baselines.lgpl_labels`) are ours.
Shape letters: B images, N boxes of an image, R regions, P pairs of a region and a class, K target classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from lat.baselines.baseline_settings import LgplSettings
from lat.baselines.lgpl_pairs import Pairs, draw_pairs, jittered_copies, match_to_classes
from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors.base import settings_from_checkpoint, with_weights
from lat.detectors.detections import indices_by_size, inference
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.image_batch import ImageBatch
from lat.detectors.torchvision.faster_rcnn import TorchvisionDetector
from lat.detectors.torchvision.rcnn_parts import RcnnRecipe, build_roi_heads, recipe_of
from lat.detectors.torchvision.rcnn_trunk import RcnnTrunk
from lat.detectors.torchvision.weighted_rcnn import Target

Result = TypeVar("Result")

_BETA = 1 / 9  # where the box loss becomes linear, as in torchvision's own head


class ClassConditionedHead(nn.Module):
    """Validity of a region for a class, and its box: Faster R-CNN's box head on region feature + class embedding.

    The embedding, one number per channel, is added at each cell of the pooled region. Appended to the pooled cells as a few more
    inputs of the first layer it drowns in them: after 300 steps on drawn street scenes no validity was learnt.
    """

    def __init__(self, channels: int, recipe: RcnnRecipe, num_classes: int) -> None:
        super().__init__()
        parts = build_roi_heads(channels, recipe, regions_per_image=1, num_outputs=1)  # one logit and four deltas
        self.pool, self.box_coder = parts.box_roi_pool, parts.box_coder
        self.embedding = nn.Embedding(num_classes, channels)
        self.layers, self.predictor = parts.box_head, parts.box_predictor

    def forward(self, pooled: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Validity logits (R,) and box deltas (R, 4), float32, of pooled regions (R, C, S, S) for classes (R,) int64."""
        logits, deltas = self.predictor(self.layers(pooled + self.embedding(classes)[:, :, None, None]))
        return logits.float().flatten(), deltas.float()


@dataclass(frozen=True, eq=False)
class RatedProposals:
    """The head's rating of each proposal of an image for each class, and the rating by the target's labels.

    Attributes:
        validity: (R, K) float32 in [0, 1].
        valid: (R, K) bool.
        counted: (R, K) bool; False if a don't-care box makes the validity of the proposal unknown.
    """

    validity: Tensor
    valid: Tensor
    counted: Tensor


class LgplModel(RcnnTrunk):
    """Image encoder and proposal network of a source, class-conditioned head of the target.

    Args:
        settings: the head and its training.
        detector_settings: backbone, weights and image size, as for a torchvision detector.
        space: the target's label space.
        load_weights: False does not read the weights that the settings name, for a model that is filled from a checkpoint.

    Raises:
        InputError: if the settings choose Detectron2, or a weights file cannot be read or does not fit.
    """

    def __init__(
        self, settings: LgplSettings, detector_settings: DetectorSettings, space: LabelSpace, *, load_weights: bool = True
    ) -> None:
        if detector_settings.detector == "detectron2":
            raise InputError("detector", "is 'detectron2', which LGPL does not support", "choose torchvision or auto")
        super().__init__(detector_settings, load_weights=load_weights)
        self.lgpl_settings, self.space = settings, space
        self.head = ClassConditionedHead(self.channels, recipe_of(detector_settings.backbone), len(space))
        if load_weights and detector_settings.weights not in ("none", "pretrained"):
            filled = TorchvisionDetector(detector_settings, space).state_dict()
            shared = {name: value for name, value in filled.items() if name.startswith(("backbone.", "rpn."))}
            self.load_state_dict(shared, strict=False)

    def losses(
        self,
        source_images: list[Tensor],
        source_targets: list[LabeledBoxes],
        target_images: list[Tensor],
        target_targets: list[LabeledBoxes],
    ) -> dict[str, Tensor]:
        """Four scalars: the proposal network's two on the source's boxes of all classes, the head's two on the target's labels.

        All images pass through the encoder as one batch. The head's regions are proposals on the target's images, without
        gradients, and jittered target boxes; `draw_pairs` draws from them, and `head_losses` has the losses. Boxes of weight 0
        are don't-care. Either pair of lists may be empty, and images need not have boxes.
        """
        assert self.training, "losses need train mode"
        batch, split = self.batch([*source_images, *target_images]), len(source_images)
        features = self.features(batch)
        source, of_source = _images(batch, features, slice(split))
        target, of_target = _images(batch, features, slice(split, None))
        zero = torch.stack([level.sum() * 0.0 for level in features.values()]).sum()  # with a gradient
        losses = {"loss_objectness": zero, "loss_rpn_box_reg": zero}
        if source_images:
            _, losses = self.propose(source, of_source, self._targets(source, source_targets))
        pairs = self._draw(target, of_target, self._targets(target, target_targets)) if target_images else []
        if not any(len(image.classes) for image in pairs):
            return losses | {"loss_validity": zero, "loss_refine": zero}
        pooled = self.head.pool(of_target, [image.regions_xyxy for image in pairs], target.sizes_hw)
        logits, deltas = self.head(pooled, torch.cat([image.classes for image in pairs]))
        valid, weights = (torch.cat([getattr(image, name) for image in pairs]) for name in ("valid", "weights"))
        wanted = torch.cat([self.head.box_coder.encode_single(image.boxes_xyxy, image.regions_xyxy) for image in pairs])
        return losses | head_losses(logits, deltas, valid, wanted, weights)

    def refine(self, images: list[Tensor], boxes: list[LabeledBoxes]) -> list[LabeledBoxes]:
        """The same boxes, moved to where the target would draw them, with their validity as score; on the boxes' device.

        Keeps every box, however low its validity. The result for an image does not depend on the other images.

        Args:
            images: each (3, H, W) float32 in [0, 1], on the model's device.
            boxes: for each image, boxes in classes of the target, in pixels of the original image.
        """
        assert all(one.space == self.space for one in boxes), "boxes are in classes of the target"
        return self._by_size(self._refine_batch, images, boxes)

    def rate_proposals(self, images: list[Tensor], targets: list[LabeledBoxes]) -> list[RatedProposals]:
        """Validity of the proposals on each image for every class, and their rating by the target's labels."""
        return self._by_size(self._rate_batch, images, targets)

    def _by_size(
        self, run: Callable[[list[Tensor], list[LabeledBoxes]], list[Result]], images: list[Tensor], boxes: list[LabeledBoxes]
    ) -> list[Result]:
        """The results of `run` for each image, in batches of one size."""
        results: dict[int, Result] = {}
        with inference(self):
            for indices in indices_by_size(images, self.settings):
                group = run([images[i] for i in indices], [boxes[i] for i in indices])
                results.update(zip(indices, group, strict=True))
        return [results[index] for index in range(len(images))]

    def _targets(self, batch: ImageBatch, boxes: list[LabeledBoxes]) -> list[Target]:
        return [self.to_target(batch, index, one) for index, one in enumerate(boxes)]

    def _draw(self, batch: ImageBatch, features: dict[str, Tensor], targets: list[Target]) -> list[Pairs]:
        """The pairs of each image that the head is trained on."""
        with inference(self.rpn):
            proposals, _ = self.propose(batch, features)
        regions = [
            torch.cat([found, jittered_copies(target, size_hw, self.lgpl_settings)])
            for found, target, size_hw in zip(proposals, targets, batch.sizes_hw, strict=True)
        ]
        return [draw_pairs(*image, len(self.space), self.lgpl_settings) for image in zip(regions, targets, strict=True)]

    def _refine_batch(self, images: list[Tensor], boxes: list[LabeledBoxes]) -> list[LabeledBoxes]:
        batch = self.batch(images)
        device = batch.pixels.device
        given = [one.boxes_xyxy.to(device) * batch.scale_xyxy(index) for index, one in enumerate(boxes)]
        pooled = self.head.pool(self.features(batch), given, batch.sizes_hw)
        logits, deltas = self.head(pooled, torch.cat([one.labels.to(device) for one in boxes]))
        counts = [len(one) for one in boxes]
        moved = self.head.box_coder.decode_single(deltas, torch.cat(given)).split(counts)
        refined = []
        for index, (one, corners, validity) in enumerate(zip(boxes, moved, logits.sigmoid().split(counts), strict=True)):
            in_original = clip_boxes_to_image(corners, batch.sizes_hw[index]) / batch.scale_xyxy(index)
            in_original = clip_boxes_to_image(in_original, batch.originals_hw[index])
            home = one.labels.device
            refined.append(replace(one, boxes_xyxy=in_original.to(home), scores=validity.to(home)))
        return refined

    def _rate_batch(self, images: list[Tensor], targets: list[LabeledBoxes]) -> list[RatedProposals]:
        batch = self.batch(images)
        features = self.features(batch)
        proposals, _ = self.propose(batch, features)
        pooled = self.head.pool(features, proposals, batch.sizes_hw)
        columns = [self.head(pooled, torch.full((len(pooled),), k, device=pooled.device))[0] for k in range(len(self.space))]
        validity = torch.stack(columns, dim=1).sigmoid().split([len(found) for found in proposals])
        matches = [
            match_to_classes(found, target, len(self.space), self.lgpl_settings.match_iou)
            for found, target in zip(proposals, self._targets(batch, targets), strict=True)
        ]
        return [RatedProposals(one, *match) for one, match in zip(validity, matches, strict=True)]


def _images(batch: ImageBatch, features: dict[str, Tensor], rows: slice) -> tuple[ImageBatch, dict[str, Tensor]]:
    """Some images of a batch, and their features."""
    images = ImageBatch(batch.pixels[rows], batch.sizes_hw[rows], batch.originals_hw[rows])
    return images, {name: level[rows] for name, level in features.items()}


def head_losses(logits: Tensor, deltas: Tensor, valid: Tensor, wanted_deltas: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Weighted loss of P pairs; with s_p the validity of pair p, and v_p 1 if it is valid, else 0:

        loss_validity = -sum_p w_p (v_p log s_p + (1 - v_p) log(1 - s_p)) / max(sum_p w_p, 1)
        loss_refine   = sum_p w_p v_p smooth-L1(deltas_p - wanted_p) / max(P, 1)

    The box loss is averaged over all pairs, as in Faster R-CNN: averaged over the valid ones it would dominate the validity loss.

    Args:
        logits: (P,) float32 of the validity.
        deltas: (P, 4) float32.
        valid: (P,) bool.
        wanted_deltas: (P, 4) float32; rows of invalid pairs are ignored.
        weights: (P,) float32.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, valid.float(), reduction="none")
    distance = F.smooth_l1_loss(deltas[valid], wanted_deltas[valid], beta=_BETA, reduction="none").sum(dim=1)
    return {
        "loss_validity": (weights * entropy).sum() / weights.sum().clamp(min=1.0),
        "loss_refine": (weights[valid] * distance).sum() / max(len(valid), 1),
    }


def describe_lgpl(settings: LgplSettings, detector_settings: DetectorSettings, space: LabelSpace) -> dict[str, Any]:
    """What a checkpoint needs besides `model`, the state dict, for `lgpl_from_checkpoint`; plain types only."""
    detector = asdict(replace(detector_settings, detector="torchvision"))
    return {"kind": "lgpl", "settings": asdict(settings), "detector_settings": detector, "space": space.to_dict()}


def lgpl_from_checkpoint(content: Mapping[str, Any]) -> LgplModel:
    """The model of a checkpoint, in eval mode on the CPU; files named in its settings are not needed.

    Args:
        content: what `describe_lgpl` returned, and `model`, the state dict.

    Raises:
        InputError: if the content is of another kind, was written by another version, or its weights do not fit.
    """
    if content.get("kind") != "lgpl":
        raise InputError("checkpoint", f"contains '{content.get('kind')}', not an LGPL model", "name the model.pt of LGPL")
    settings = _lgpl_settings(content["settings"])
    detector_settings = settings_from_checkpoint(content["detector_settings"])
    model = LgplModel(settings, detector_settings, LabelSpace.from_dict(content["space"]), load_weights=False)
    with_weights(model, content["model"], "train LGPL again")
    return model


def _lgpl_settings(values: Mapping[str, Any]) -> LgplSettings:
    if unknown := sorted(set(values) - {field.name for field in fields(LgplSettings)}):
        raise InputError("checkpoint", f"has unknown settings {', '.join(unknown)}", "train LGPL again")
    return LgplSettings(**values)
