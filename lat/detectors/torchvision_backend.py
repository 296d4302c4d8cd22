"""Faster R-CNN of torchvision behind the `Detector` protocol.

Shape letters: B images, N boxes of one image, R regions, K classes. Inside torchvision index 0 is background and boxes are in
pixels of the resized image; both end at this file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import batched_nms, clip_boxes_to_image

from lat.detectors.image_batch import ImageBatch, batch_images, resized_hw
from lat.detectors.rcnn_parts import build_backbone, build_region_proposal_network, build_roi_heads, recipe_of
from lat.detectors.settings import DetectorSettings
from lat.detectors.weight_files import load_weight_file
from lat.detectors.weighted_rcnn import Target
from lat.label_space import LabelSpace
from lat.structures import LabeledBoxes

_SMALLEST_SIDE = 0.1  # pixels of the resized image; thinner ground truth has no usable box delta and is left out of the losses


class TorchvisionDetector(nn.Module):
    """Faster R-CNN with a feature pyramid; the state dict has the names of torchvision's own `FasterRCNN`.

    Args:
        settings: backbone, weights, image size and what is kept of the detections.
        space: the label space to detect.
        load_weights: False leaves the weights that the settings name unread, for a model that is filled from a checkpoint.

    Raises:
        InputError: if a weights file cannot be read or does not fit.

    Source: Ren et al., Faster R-CNN (2015); Lin et al., Feature Pyramid Networks (2017).
    """

    def __init__(self, settings: DetectorSettings, space: LabelSpace, *, load_weights: bool = True) -> None:
        super().__init__()
        self.settings = settings
        self.space = space
        recipe = recipe_of(settings.backbone)
        self.strides, self.proposal_levels = recipe.strides, recipe.proposal_levels
        self.backbone = build_backbone(settings, download=load_weights)
        channels: int = self.backbone.out_channels  # type: ignore[assignment]
        self.rpn = build_region_proposal_network(channels, recipe)
        regions = settings.regions_per_image or recipe.regions_per_image
        self.roi_heads = build_roi_heads(channels, recipe, regions, len(space) + 1)
        self.feature_stride = recipe.strides[0]
        self.feature_channels = channels * len(recipe.pooled_levels)
        if load_weights and settings.weights not in ("none", "pretrained"):
            load_weight_file(self, getattr(self.backbone, "body", self.backbone), space.class_names, settings.weights)

    def losses(self, images: list[Tensor], targets: list[LabeledBoxes]) -> dict[str, Tensor]:
        """Four scalar loss terms under torchvision's names; for the weight of a box see `WeightedRoIHeads.losses`.

        Boxes of weight 0 are don't-care for proposals and regions. Samples are drawn from torch's global generator.
        """
        assert self.training, "losses need train mode: in eval mode torchvision's parts propose regions as for prediction"
        batch = self._batch(images)
        rcnn_targets = [self._to_target(batch, index, boxes) for index, boxes in enumerate(targets)]
        features = self._features(batch)
        proposals, losses = self._propose(batch, features, rcnn_targets)
        return losses | self.roi_heads.losses(features, proposals, batch.sizes_hw, rcnn_targets)

    def predict(self, images: list[Tensor]) -> list[LabeledBoxes]:
        """Detections of each image on the CPU, best first, in pixels of the original image.

        `class_scores` (N, K) is the softmax over classes and background of the region that a box was drawn from, without its
        background column; `scores` is its entry at `labels`. One region may give a box for each of several classes. Images are
        run in batches of equal size, so that a result does not depend on the other images.
        """
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            size_hw = (image.shape[-2], image.shape[-1])
            groups[resized_hw(size_hw, self.settings.image_size, self.settings.max_image_size)].append(index)
        found: dict[int, LabeledBoxes] = {}
        with self._inference():
            for indices in groups.values():
                found.update(zip(indices, self._predict_batch(self._batch([images[i] for i in indices])), strict=True))
        return [found[index] for index in range(len(images))]

    def feature_maps(self, images: Tensor) -> Tensor:
        """Feature maps for a frozen backbone: the pyramid levels that the box head pools from, side by side.

        Runs in eval mode without gradient and normalises as the detector does, but does not resize: give images of the size that
        `image_size` asks for. Levels coarser than the finest are upsampled to it, bilinearly and at their exact scale.

        Args:
            images: (B, 3, H, W) float32 in [0, 1].

        Returns:
            (B, feature_channels, ceil(H / feature_stride), ceil(W / feature_stride)) float32; a map cell is exactly
            `feature_stride` pixels wide and high, the last ones may reach beyond the image.
        """
        with self._inference():
            features = self._features(batch_images(list(images), 0, 0, self.strides[-1]))
        levels = [features[name] for name in self.roi_heads.box_roi_pool.featmap_names]
        padded_hw = levels[0].shape[-2:]
        others = [F.interpolate(level, size=padded_hw, mode="bilinear", align_corners=False) for level in levels[1:]]
        height, width = (-(-side // self.feature_stride) for side in images.shape[-2:])
        return torch.cat([levels[0], *others], dim=1)[..., :height, :width]

    def _batch(self, images: list[Tensor]) -> ImageBatch:
        return batch_images(images, self.settings.image_size, self.settings.max_image_size, self.strides[-1])

    def _features(self, batch: ImageBatch) -> dict[str, Tensor]:
        return {name: level.float() for name, level in self.backbone(batch.pixels).items()}

    def _propose(
        self, batch: ImageBatch, features: dict[str, Tensor], targets: list[Target] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        levels = {name: features[name] for name in self.proposal_levels}
        return self.rpn(ImageList(batch.pixels, batch.sizes_hw), levels, targets)

    def _to_target(self, batch: ImageBatch, index: int, boxes: LabeledBoxes) -> Target:
        boxes = boxes.to(batch.pixels.device)
        scaled = boxes.boxes_xyxy * batch.scale_xyxy(index)
        usable = (scaled[:, 2:] - scaled[:, :2] >= _SMALLEST_SIDE).all(dim=1)
        labels = torch.where(boxes.weights > 0, boxes.labels + 1, -1)
        return {"boxes": scaled[usable], "labels": labels[usable], "weights": boxes.weights[usable]}

    @contextmanager
    def _inference(self) -> Iterator[None]:
        was_training = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(was_training)

    def _predict_batch(self, batch: ImageBatch) -> list[LabeledBoxes]:
        features = self._features(batch)
        proposals, _ = self._propose(batch, features)
        logits, deltas = self.roi_heads.logits_and_deltas(features, proposals, batch.sizes_hw)
        counts = [len(regions) for regions in proposals]
        scores = logits.softmax(dim=1)[:, 1:].clamp(max=1.0).split(counts)
        boxes = self.roi_heads.box_coder.decode(deltas, proposals)[:, 1:].split(counts)
        return [self._detections(batch, index, *image) for index, image in enumerate(zip(boxes, scores, strict=True))]

    def _detections(self, batch: ImageBatch, index: int, boxes_xyxy: Tensor, class_scores: Tensor) -> LabeledBoxes:
        """Detections of one image from its regions' boxes (R, K, 4) in pixels of the resized image and class scores (R, K)."""
        regions, labels = torch.where(class_scores > self.settings.score_threshold)
        boxes_xyxy = clip_boxes_to_image(boxes_xyxy[regions, labels], batch.sizes_hw[index])
        scores = class_scores[regions, labels]
        solid = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2] >= _SMALLEST_SIDE).all(dim=1)
        boxes_xyxy, scores, regions, labels = boxes_xyxy[solid], scores[solid], regions[solid], labels[solid]
        keep = batched_nms(boxes_xyxy, scores, labels, self.settings.nms_iou)[: self.settings.max_detections]
        original = boxes_xyxy[keep] / batch.scale_xyxy(index)
        height, width = batch.originals_hw[index]
        return LabeledBoxes(
            clip_boxes_to_image(original, (height, width)).cpu(),
            labels[keep].cpu(),
            self.space,
            scores=scores[keep].cpu(),
            class_scores=class_scores[regions[keep]].cpu(),
        )
