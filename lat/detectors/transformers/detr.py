"""RT-DETR and Deformable-DETR of Hugging Face transformers behind the `Detector` protocol.

Shape letters: B images, N boxes of one image, Q queries, K classes. Inside transformers boxes are centre x, centre y, width and
height as shares of the image; this file hides that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_convert

from lat.core.boxes import clip_to_images
from lat.core.copies import to_device
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors.detected import Detected, in_original_pixels
from lat.detectors.detections import BatchedPrediction, is_solid
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.image_batch import ImageBatch, batch_images
from lat.detectors.transformers.detr_config import build_network, config_from_text, resolve_config
from lat.detectors.transformers.detr_loss import Target, deformable_detr_losses, rtdetr_losses, summed_over_layers
from lat.detectors.transformers.detr_pixels import pixels_of_checkpoint
from lat.detectors.transformers.detr_weights import initialise, load_pretrained, unfreeze_backbone


class TransformersDetector(BatchedPrediction, nn.Module):
    """A detection transformer; `network` is the library's own model, whose `save_pretrained` exports it for other programs.

    It computes in float32 whatever the precision of the run: boxes are refined from layer to layer, and in bfloat16 each layer
    would round them to whole pixels.

    Args:
        settings: model, size or weights, image size and which detections to keep.
        space: the label space to detect.
        load_weights: False does not read the weights that the settings name, for a model that is filled from a checkpoint.
        config_text: the configuration from a checkpoint; then no file that the settings name is read.

    Raises:
        InputError: if the configuration is wrong, or the weights cannot be read or do not fit.

    Source: Zhao et al., DETRs Beat YOLOs on Real-time Object Detection (2024); Zhu et al., Deformable DETR (2021).
    """

    def __init__(
        self, settings: DetectorSettings, space: LabelSpace, *, load_weights: bool = True, config_text: str | None = None
    ) -> None:
        super().__init__()
        self.settings = settings
        self.space = space
        if config_text is None:
            config = resolve_config(settings, space.class_names)
        else:
            config = config_from_text(settings.detector, config_text)
        self.image_mean, self.image_std = pixels_of_checkpoint(config)
        self.network = build_network(settings, config)
        self.is_deformable = settings.detector == "deformable_detr"
        self.network.loss_function = deformable_detr_losses if self.is_deformable else rtdetr_losses
        # Deformable-DETR knows where an image ends; RT-DETR needs sides that halve evenly down to its coarsest level
        self.divisible_by = 1 if self.is_deformable else max(config.feat_strides)
        if settings.weights == "none":
            if self.is_deformable:
                unfreeze_backbone(self.network)
            initialise(self.network)
        elif load_weights:
            load_pretrained(self.network, settings, space.class_names)

    def losses(
        self, images: list[Tensor], targets: list[LabeledBoxes], class_masks: list[Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Scalar loss terms, each summed over the layers; for the weight of a box see `lat.detectors.transformers.detr_loss`.

        Boxes of weight 0 are don't-care. Noise is drawn from torch's global generator.

        Args:
            images: B images.
            targets: their boxes.
            class_masks: (K,) bool per image, the classes that it supervises; the logits of the others get no gradient. None
                for all.
        """
        assert self.training, "losses need train mode: in eval mode transformers denoises nothing"
        batch = self._batch(images)
        masks = [torch.ones(len(self.space), dtype=torch.bool)] * len(images) if class_masks is None else class_masks
        labels = [self._to_target(batch, index, *pair) for index, pair in enumerate(zip(targets, masks, strict=True))]
        return summed_over_layers(self._run(batch, labels).loss_dict)

    def _batch(self, images: list[Tensor], scale: float = 1.0) -> ImageBatch:
        size, longest = self.settings.image_size, self.settings.max_image_size
        normalisation = self.image_mean, self.image_std
        batch = batch_images(images, size, longest, self.divisible_by, normalisation=normalisation, scale=scale)
        return batch if self.is_deformable else replace(batch, pixels=self._with_room(batch.pixels))

    def _with_room(self, pixels: Tensor) -> Tensor:
        """Images (B, 3, H, W) padded until RT-DETR's levels have at least one cell per query; most need no padding."""
        config = self.network.config
        height, width = pixels.shape[-2:]
        while sum((height // stride) * (width // stride) for stride in config.feat_strides) < config.num_queries:
            height, width = height + self.divisible_by, width + self.divisible_by
        return F.pad(pixels, (0, width - pixels.shape[-1], 0, height - pixels.shape[-2]))

    def _frame_xyxy(self, batch: ImageBatch, index: int) -> Tensor:
        """(4,) float32 on the CPU: width, height, width, height in pixels of the frame that box shares refer to.

        That is the resized image for Deformable-DETR, and the padded image for RT-DETR, which knows no padding.
        """
        height, width = batch.sizes_hw[index] if self.is_deformable else batch.pixels.shape[-2:]
        return torch.tensor([width, height, width, height], dtype=torch.float32)

    def _to_target(self, batch: ImageBatch, index: int, boxes: LabeledBoxes, supervised: Tensor) -> Target:
        boxes = boxes.to(batch.pixels.device)
        scaled = boxes.boxes_xyxy * batch.scale_xyxy(index)
        frame = to_device(self._frame_xyxy(batch, index), scaled.device)
        shares = box_convert(scaled / frame, "xyxy", "cxcywh")
        usable, counts = is_solid(scaled), boxes.weights > 0
        return {
            "class_labels": boxes.labels[usable & counts],
            "boxes": shares[usable & counts],
            "weights": boxes.weights[usable & counts],
            "dont_care": shares[usable & ~counts],
            "supervised": supervised.to(shares.device),
        }

    def _run(self, batch: ImageBatch, labels: list[Target] | None = None) -> Any:
        mask = torch.zeros(len(batch.pixels), *batch.pixels.shape[-2:], dtype=torch.int64, device=batch.pixels.device)
        for row, (height, width) in zip(mask, batch.sizes_hw, strict=True):
            row[:height, :width] = 1
        with torch.autocast(batch.pixels.device.type, enabled=False):
            return self.network(batch.pixels.float(), pixel_mask=mask, labels=labels)

    def _detect_batch(self, images: list[Tensor], passes: int) -> Detected:
        """One box per query, for its best class, if its score is above the threshold; there is no NMS.

        `class_scores` (N, K) are independent sigmoids: they need not sum to 1.
        """
        batch = self._batch(images, self.scale)
        output = self._run(batch)
        return self._selected(batch, output.logits.sigmoid(), output.pred_boxes)

    def _selected(self, batch: ImageBatch, class_scores: Tensor, shares: Tensor) -> Detected:
        """Detections of class scores (B, Q, K) and boxes (B, Q, 4) as shares of the frame."""
        frames = torch.stack([self._frame_xyxy(batch, index) for index in range(len(shares))])
        boxes_xyxy = box_convert(shares, "cxcywh", "xyxy") * to_device(frames, shares.device)[:, None]
        boxes_xyxy = clip_to_images(boxes_xyxy, to_device(torch.tensor(batch.sizes_hw), shares.device)[:, None])
        scores, labels = class_scores.max(dim=2)
        usable = is_solid(boxes_xyxy.flatten(0, 1)).view_as(scores) & (scores > self.settings.detection_threshold)
        best = scores.masked_fill(~usable, -1.0).argsort(dim=1, descending=True, stable=True)[:, : self.settings.max_detections]
        boxes_xyxy = in_original_pixels(boxes_xyxy, list(zip(batch.sizes_hw, batch.originals_hw, strict=True)))
        queries = Detected(boxes_xyxy, labels, scores, class_scores, usable, usable.new_ones(()), self.space)
        return queries.chosen(best, usable.gather(1, best))
