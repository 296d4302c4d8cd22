"""Faster R-CNN of Detectron2 behind the `Detector` protocol.

Shape letters: B images, N boxes of one image, R regions, K classes. Inside Detectron2 background is the last index, pixels are
0..255 in RGB or BGR, and boxes are in pixels of the resized image; this file hides all three.
"""

from __future__ import annotations

import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import EventStorage
from torch import Tensor

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors.detections import is_solid
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.detectron2.detectron2_config import config_from_text, resolve_config
from lat.detectors.detectron2.detectron2_parts import (
    apart_from_dont_care,
    build_parts,
    region_predictions,
    weighted_region_losses,
)
from lat.detectors.detectron2.detectron2_weights import load_detectron2_weights
from lat.detectors.image_batch import resized, resized_hw, scale_xyxy
from lat.detectors.region_detections import RegionScores, TwoStagePrediction


class Detectron2Detector(TwoStagePrediction, GeneralizedRCNN):
    """Detectron2's own `GeneralizedRCNN`, with the same state dict names and an unchanged `forward`.

    Args:
        settings: YAML file or backbone, weights, image size and which detections to keep.
        space: the label space to detect.
        load_weights: False does not read the weights that the settings name, for a model that is filled from a checkpoint.
        config_text: the configuration from a checkpoint; then no file that the settings name is read.

    Raises:
        InputError: if the configuration is wrong or not supported, or the weights cannot be read or do not fit.

    Source: Ren et al., Faster R-CNN (2015); Wu et al., Detectron2 (2019).
    """

    def __init__(
        self, settings: DetectorSettings, space: LabelSpace, *, load_weights: bool = True, config_text: str | None = None
    ) -> None:
        config = resolve_config(settings, len(space)) if config_text is None else config_from_text(config_text)
        super().__init__(**build_parts(config, settings.detectron2_config or "overrides"))
        self.settings = settings
        self.space = space
        self.config = config
        shapes = self.backbone.output_shape()
        self.pooled_levels = sorted(self.roi_heads.in_features, key=lambda name: shapes[name].stride)
        self.feature_stride: int = shapes[self.pooled_levels[0]].stride
        self.feature_channels = sum(shapes[name].channels for name in self.pooled_levels)
        if load_weights and settings.weights != "none":
            name = config.MODEL.WEIGHTS if settings.weights == "pretrained" else settings.weights
            load_detectron2_weights(self, space.class_names, name)

    def losses(self, images: list[Tensor], targets: list[LabeledBoxes]) -> dict[str, Tensor]:
        """Four scalar loss terms under Detectron2's names; for the weight of a box see `weighted_region_losses`.

        Boxes of weight 0 are don't-care for proposals and regions. Samples are drawn from torch's global generator.
        """
        assert self.training, "losses need train mode: in eval mode Detectron2's parts propose regions as for prediction"
        originals_hw = [(image.shape[-2], image.shape[-1]) for image in images]
        batch = self._batch(images)
        truth = [self._to_instances(*pair) for pair in zip(targets, originals_hw, batch.image_sizes, strict=True)]
        features = self._features(batch)
        with EventStorage():  # Detectron2's parts log to one and fail without it
            proposals, proposal_losses = self.proposal_generator(batch, features, truth)
            match_iou = self.config.MODEL.ROI_HEADS.IOU_THRESHOLDS[-1]
            counted = [apart_from_dont_care(*image, match_iou) for image in zip(proposals, truth, strict=True)]
            regions = self.roi_heads.label_and_sample_proposals([kept for kept, _ in counted], [boxes for _, boxes in counted])
            predictions = region_predictions(self.roi_heads, features, regions)
            losses: dict[str, Tensor] = weighted_region_losses(self.roi_heads.box_predictor, predictions, regions)
            return {**proposal_losses, **losses}

    def _pooled_maps(self, images: Tensor) -> list[Tensor]:
        features = self._features(self._normalise(list(images)))
        return [features[name] for name in self.pooled_levels]

    def _resized_hw(self, image: Tensor, scale: float) -> tuple[int, int]:
        return resized_hw((image.shape[-2], image.shape[-1]), self.settings.image_size, self.settings.max_image_size, scale)

    def _batch(self, images: list[Tensor], scale: float = 1.0) -> ImageList:
        """RGB images (3, H, W) in [0, 1], resized as the settings say, scaled beyond that, normalised and padded to one size."""
        return self._normalise([resized(image, self._resized_hw(image, scale)) for image in images])

    def _normalise(self, images: list[Tensor]) -> ImageList:
        channels = [2, 1, 0] if self.input_format == "BGR" else [0, 1, 2]
        return self.preprocess_image([{"image": 255.0 * image[channels]} for image in images])

    def _features(self, batch: ImageList) -> dict[str, Tensor]:
        pixels = batch.tensor.contiguous(memory_format=torch.channels_last)
        return {name: level.float() for name, level in self.backbone(pixels).items()}

    def _to_instances(self, boxes: LabeledBoxes, original_hw: tuple[int, int], size_hw: tuple[int, int]) -> Instances:
        boxes = boxes.to(self.device)
        scaled = boxes.boxes_xyxy * scale_xyxy(size_hw, original_hw, self.device)
        usable = is_solid(scaled)
        classes = torch.where(boxes.weights > 0, boxes.labels, -1)
        return Instances(size_hw, gt_boxes=Boxes(scaled[usable]), gt_classes=classes[usable], gt_weights=boxes.weights[usable])

    def _region_scores(self, images: list[Tensor], passes: int) -> RegionScores:
        batch = self._batch(images, self.scale)
        features = self._features(batch)
        proposals, _ = self.proposal_generator(batch, features, None)
        predictions = region_predictions(self.roi_heads, features, proposals)
        boxes = self.roi_heads.box_predictor.predict_boxes(predictions, proposals)
        scores = self.roi_heads.box_predictor.predict_probs(predictions, proposals)
        originals_hw = [(image.shape[-2], image.shape[-1]) for image in images]
        sizes_hw = list(zip(batch.image_sizes, originals_hw, strict=True))
        class_scores = [one[:, :-1].clamp(max=1.0) for one in scores]  # without background
        of_class = [each.view(len(of), -1, 4).expand(-1, of.shape[1], -1) for each, of in zip(boxes, class_scores, strict=True)]
        return RegionScores(of_class, class_scores, sizes_hw)
