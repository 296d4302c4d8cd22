"""Faster R-CNN of torchvision behind the `Detector` protocol.

Shape letters: B images, N boxes of one image, R regions, K classes. Inside torchvision index 0 is background and boxes are in
pixels of the resized image; this file hides both.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor
from torchvision.models.detection.image_list import ImageList

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.region_detections import RegionScores, TwoStagePrediction
from lat.detectors.torchvision.convnet_pyramid import ConvnetPyramid
from lat.detectors.torchvision.device_training import DeviceTraining
from lat.detectors.torchvision.rcnn_parts import build_roi_heads, recipe_of
from lat.detectors.torchvision.rcnn_trunk import RcnnTrunk
from lat.detectors.weight_files import load_weight_file


class TorchvisionDetector(TwoStagePrediction, RcnnTrunk):
    """Faster R-CNN with a feature pyramid; the state dict has the names of torchvision's own `FasterRCNN`.

    Args:
        settings: backbone, weights, image size and which detections to keep.
        space: the label space to detect.
        load_weights: False does not read the weights that the settings name, for a model that is filled from a checkpoint.
        is_binary: whether every class has a sigmoid of its own in place of the softmax; see `WeightedRoIHeads`.
        dropout: share of the box head's activations that are dropped in training.

    Raises:
        InputError: if a weights file cannot be read or does not fit.

    Source: Ren et al., Faster R-CNN (2015); Lin et al., Feature Pyramid Networks (2017).
    """

    def __init__(
        self,
        settings: DetectorSettings,
        space: LabelSpace,
        *,
        load_weights: bool = True,
        is_binary: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(settings, load_weights=load_weights)
        self.space = space
        recipe = recipe_of(settings.backbone)
        regions, outputs = recipe.regions_per_image, len(space) + 1
        self.roi_heads = build_roi_heads(self.channels, recipe, regions, outputs, is_binary=is_binary, dropout=dropout)
        self.feature_stride = recipe.strides[0]
        self.feature_channels = self.channels * len(recipe.pooled_levels)
        if load_weights and settings.weights not in ("none", "pretrained"):
            body = getattr(self.backbone, "body", self.backbone)
            convert = (
                partial(self.backbone.of_classifier, path=settings.weights) if isinstance(self.backbone, ConvnetPyramid) else None
            )
            load_weight_file(self, body, space.class_names, settings.weights, convert)

    def losses(
        self, images: list[Tensor], targets: list[LabeledBoxes], class_masks: list[Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Four scalar loss terms under torchvision's names; for the weight of a box see `WeightedRoIHeads.losses`.

        Boxes of weight 0 are don't-care for proposals and regions. Samples are drawn from torch's global generator.

        Args:
            images: as in the protocol.
            targets: as in the protocol.
            class_masks: for each image (K,) bool, the classes that it supervises, including those of all its boxes; the others
                get no gradient from it. The proposal network knows no classes: to it, unlabelled objects of the others are
                background. None for all classes.
        """
        assert self.training, "losses need train mode: in eval mode torchvision's parts propose regions as for prediction"
        batch = self.batch(images)
        features = self.features(batch)
        if batch.pixels.device.type != "cpu":
            marked = [self.to_device_target(batch, index, boxes) for index, boxes in enumerate(targets)]
            training = DeviceTraining(self.rpn, self.roi_heads)
            return training.losses(ImageList(batch.pixels, batch.sizes_hw), features, self.levels(features), marked, class_masks)
        rcnn_targets = [self.to_target(batch, index, boxes) for index, boxes in enumerate(targets)]
        proposals, losses = self.propose(batch, features, rcnn_targets)
        return losses | self.roi_heads.losses(features, proposals, batch.sizes_hw, rcnn_targets, class_masks)

    def _pooled_maps(self, images: Tensor) -> list[Tensor]:
        features = self.features(self._batch(list(images), 0, 0))
        return [features[name] for name in self.roi_heads.box_roi_pool.featmap_names]

    def _region_scores(self, images: list[Tensor], passes: int) -> RegionScores:
        batch = self.batch(images, self.scale)
        features, regions = self.features(batch), None
        if batch.pixels.device.type == "cpu":
            proposals, _ = self.propose(batch, features)
        else:
            regions = self.choose_regions(batch, features, passes)
            proposals = list(regions.boxes_xyxy)
        logits, deltas = self.roi_heads.logits_and_deltas(features, proposals, batch.sizes_hw)
        counts = [len(of_image) for of_image in proposals]
        scores = self.roi_heads.class_scores(logits)
        if regions is not None:  # places that are left are of no class
            scores = scores.masked_fill(~regions.is_region.view(-1, 1), -1.0)
        decoded = self.roi_heads.box_coder.decode(deltas, proposals)
        boxes = decoded.reshape(len(deltas), deltas.shape[1] // 4, 4)[:, 1:].split(counts)  # it leaves no regions as they are
        sizes_hw = list(zip(batch.sizes_hw, batch.originals_hw, strict=True))
        return RegionScores(boxes, scores.split(counts), sizes_hw, None if regions is None else regions.is_settled)
