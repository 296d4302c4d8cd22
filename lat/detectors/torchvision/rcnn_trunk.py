"""Shared by models made of torchvision's parts: images in, feature pyramid and proposals out, targets in the resized frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from lat.core.structures import LabeledBoxes
from lat.detectors.detections import is_solid
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.image_batch import IMAGENET_MEAN, IMAGENET_STD, ImageBatch, batch_images
from lat.detectors.torchvision.proposal_selection import Regions
from lat.detectors.torchvision.rcnn_parts import build_detector_backbone, build_region_proposal_network, recipe_of
from lat.detectors.torchvision.weighted_rcnn import Target


class RcnnTrunk(nn.Module):
    """Backbone with its feature pyramid, and region proposal network.

    Args:
        settings: backbone, optional ImageNet weights, image size.
        load_weights: False does not fetch these weights.
    """

    def __init__(self, settings: DetectorSettings, *, load_weights: bool) -> None:
        super().__init__()
        self.settings = settings
        recipe = recipe_of(settings.backbone)
        self.strides, self.proposal_levels = recipe.strides, recipe.proposal_levels
        self.backbone = build_detector_backbone(settings, download=load_weights)
        self.mean = getattr(self.backbone, "mean", IMAGENET_MEAN)
        self.std = getattr(self.backbone, "std", IMAGENET_STD)
        self.channels: int = self.backbone.out_channels  # type: ignore[assignment]
        self.rpn = build_region_proposal_network(self.channels, recipe)

    def batch(self, images: list[Tensor], scale: float = 1.0) -> ImageBatch:
        """Images (3, H, W) resized, scaled by `scale` beyond that, normalised and padded."""
        return self._batch(images, self.settings.image_size, self.settings.max_image_size, scale)

    def _batch(self, images: list[Tensor], image_size: int, max_image_size: int, scale: float = 1.0) -> ImageBatch:
        normalisation = self.mean, self.std
        return batch_images(images, image_size, max_image_size, self.strides[-1], normalisation=normalisation, scale=scale)

    def features(self, batch: ImageBatch) -> dict[str, Tensor]:
        """The levels of the pyramid, float32 even in mixed precision."""
        return {name: level.float() for name, level in self.backbone(batch.pixels).items()}

    def propose(
        self, batch: ImageBatch, features: dict[str, Tensor], targets: list[Target] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals (R, 4) per image in pixels of the resized image, without gradients, and in train mode the two losses."""
        images = ImageList(batch.pixels, batch.sizes_hw)
        result: tuple[list[Tensor], dict[str, Tensor]] = self.rpn(images, self.levels(features), targets)
        return result

    def choose_regions(self, batch: ImageBatch, features: dict[str, Tensor], passes: int) -> Regions:
        """The same proposals for prediction on a device, in as many places for each image; the program does not wait for them."""
        return self.rpn.choose(ImageList(batch.pixels, batch.sizes_hw), self.levels(features), passes)

    def levels(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: features[name] for name in self.proposal_levels}

    def to_target(self, batch: ImageBatch, index: int, boxes: LabeledBoxes) -> Target:
        """The boxes of image `index` as torchvision's parts expect them; boxes without area are dropped."""
        every, usable = self._every_box(batch, index, boxes)
        return {name: column[usable] for name, column in every.items()}

    def to_device_target(self, batch: ImageBatch, index: int, boxes: LabeledBoxes) -> Target:
        """The boxes of image `index` as `training_samples` expects them: those without area have the label 0."""
        every, usable = self._every_box(batch, index, boxes)
        return every | {"labels": torch.where(usable, every["labels"], 0)}

    def _every_box(self, batch: ImageBatch, index: int, boxes: LabeledBoxes) -> tuple[Target, Tensor]:
        """The boxes of image `index`, and (G,) bool which of them have an area."""
        boxes = boxes.to(batch.pixels.device)
        scaled = boxes.boxes_xyxy * batch.scale_xyxy(index)
        labels = torch.where(boxes.weights > 0, boxes.labels + 1, -1)
        return {"boxes": scaled, "labels": labels, "weights": boxes.weights}, is_solid(scaled)
