"""Backbone, proposal generator and ROI heads for Detectron2: registrations around the modules of `lat.models`.

Shape letters: B images, C channels of the feature map, H x W image pixels, h x w map cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, PROPOSAL_GENERATOR_REGISTRY, ROI_HEADS_REGISTRY
from detectron2.modeling.backbone import Backbone
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from lat.core.errors import InputError
from lat.core.label_space import JointLabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectron2.config_node import read_lat_config
from lat.detectron2.conversion import detections, instances_from_proposals, proposals_from_instances
from lat.labelling.labelling_settings import DecodeSettings
from lat.labelling.paper_form import transfer_labels
from lat.models.backbones.frozen import FrozenBackbone, build_backbone
from lat.models.label_transfer_model import LabelTransferModel, TransferInput
from lat.models.model_settings import DINOV2_PATCH, ProposalSettings
from lat.models.proposals import PrivilegedProposalGenerator as ProposalMaker

FEATURE = "dinov2"  # the one feature map of `FrozenDINOv2`


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a number, without gradient, over all processes that Detectron2 has started; itself where there is one."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


@BACKBONE_REGISTRY.register()
class FrozenDINOv2(Backbone):
    """DINOv2 as a Detectron2 backbone: never in train mode, without gradients, not in the state dict.

    Detectron2's meta-architectures normalise pixels by `MODEL.PIXEL_MEAN` and `PIXEL_STD` in the order of `INPUT.FORMAT`. This
    class undoes that, so the maps are those of `lat` whatever these settings are. `ImageList` pads with the colour `PIXEL_MEAN`;
    Detectron2's default is the same as DINOv2's.

    Args:
        frozen: the backbone of `lat` around a DINOv2.
        pixel_mean: as `MODEL.PIXEL_MEAN`, pixels 0..255.
        pixel_std: as `MODEL.PIXEL_STD`.
        input_format: BGR or RGB.

    Raises:
        InputError: if the format is neither.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    @configurable
    def __init__(
        self, *, frozen: FrozenBackbone, pixel_mean: Sequence[float], pixel_std: Sequence[float], input_format: str
    ) -> None:
        super().__init__()
        if input_format not in ("BGR", "RGB"):
            raise InputError("INPUT.FORMAT", f"is '{input_format}'", "choose BGR or RGB")
        self.frozen = frozen
        self.is_bgr = input_format == "BGR"
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec | None = None) -> dict[str, Any]:
        settings = read_lat_config(cfg)
        return {
            "frozen": build_backbone(settings.backbone, seed=settings.weights_seed),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "input_format": cfg.INPUT.FORMAT,
        }

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) normalised by a meta-architecture -> {"dinov2": (B, C, ceil(H / 14), ceil(W / 14))} float32.

        With `MODEL.LAT.IMAGE_SIZE` images are resized first, and the map is that of the resized image.
        """
        pixels = (images * self.pixel_std + self.pixel_mean) / 255.0
        return {FEATURE: self.frozen.feature_maps(pixels.flip(1) if self.is_bgr else pixels)}

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {FEATURE: ShapeSpec(channels=self.frozen.channels, stride=DINOV2_PATCH)}

    @property
    def size_divisibility(self) -> int:
        return DINOV2_PATCH

    @property
    def padding_constraints(self) -> dict[str, int]:
        return {"size_divisibility": DINOV2_PATCH}


@dataclass(frozen=True, eq=False)
class PrivilegedLabels:
    """All labels of one image: ground truth of its own space, pseudo-labels of other spaces; on the CPU."""

    ground_truth: LabeledBoxes
    pseudo_labels: tuple[LabeledBoxes, ...]


@PROPOSAL_GENERATOR_REGISTRY.register()
class PrivilegedProposalGenerator(nn.Module):
    """`lat.models.proposals.PrivilegedProposalGenerator` as a Detectron2 proposal generator, without weights or losses.

    In train mode ground truth is jittered and thinned, and background boxes are added, from torch's global CPU generator.
    """

    @configurable
    def __init__(self, *, joint: JointLabelSpace, settings: ProposalSettings) -> None:
        super().__init__()
        self.maker = ProposalMaker(joint, settings)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec] | None = None) -> dict[str, Any]:
        settings = read_lat_config(cfg)
        return {"joint": settings.joint, "settings": settings.proposals}

    def forward(
        self, images: ImageList, features: dict[str, Tensor], labels: Sequence[PrivilegedLabels]
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """The proposals of each image, on the images' device, and no losses.

        Returns:
            `Instances` with `proposal_boxes`, `class_scores` (M, K), `confidence`, `origin`, `space_index`, `annotation_ids`,
            `labels`.
        """
        made = []
        for size_hw, one in zip(images.image_sizes, labels, strict=True):
            if self.training:
                proposals = self.maker.propose_for_training(one.ground_truth, one.pseudo_labels, size_hw, torch.default_generator)
            else:
                proposals = self.maker.propose(one.ground_truth, one.pseudo_labels)
            made.append(instances_from_proposals(proposals, size_hw).to(images.device))
        return made, {}


@ROI_HEADS_REGISTRY.register()
class SemanticFeatureFusionROIHeads(nn.Module):
    """`lat.models.label_transfer_model.LabelTransferModel` as Detectron2 ROI heads; the model is the attribute `model`.

    Args:
        model: the label-transfer model.
        decode: how scores become detections at inference.
        stride: image pixels per map cell, if `forward` gets no scales.
        box_loss_weight: weight of the box loss beside the classification loss.
    """

    @configurable
    def __init__(self, *, model: LabelTransferModel, decode: DecodeSettings, stride: int, box_loss_weight: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.decode = decode
        self.stride = stride
        self.box_loss_weight = box_loss_weight

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        settings = read_lat_config(cfg)
        (shape,) = input_shape.values()
        model = LabelTransferModel(
            settings.joint, shape.channels, settings.head, settings.fusion, mean_over_processes=mean_over_processes
        )
        weight = settings.box_loss_weight
        return {"model": model, "decode": settings.decode, "stride": shape.stride, "box_loss_weight": weight}

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: Sequence[Instances],
        targets: Sequence[LabeledBoxes] | Sequence[str],
        scales_yx: Sequence[tuple[float, float]] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """In train mode no detections and the losses; in eval mode detections (see `detections`) and no losses.

        Args:
            images: only their sizes are used.
            features: one map (B, C, h, w); smaller images' maps are extended with their last row and column.
            proposals: B `Instances` of `PrivilegedProposalGenerator`.
            targets: in train mode the ground truth of each image, in eval mode the name of the output label space.
            scales_yx: map cells per image pixel, vertical and horizontal; None for 1 / stride.
        """
        (maps,) = features.values()
        scales = scales_yx or [(1.0 / self.stride, 1.0 / self.stride)] * len(proposals)
        inputs = [
            TransferInput(one_map, scale, size_hw, proposals_from_instances(one))
            for one_map, scale, size_hw, one in zip(maps, scales, images.image_sizes, proposals, strict=True)
        ]
        if self.training:
            losses = self.model.losses(inputs, targets)  # type: ignore[arg-type]
            return [], losses | {"loss_box": self.box_loss_weight * losses["loss_box"]}
        names = list(dict.fromkeys(str(name) for name in targets))
        transferred = transfer_labels(self.model, inputs, names, self.decode)
        found = [transferred[str(name)][i] for i, name in enumerate(targets)]
        pairs = zip(found, inputs, strict=True)
        device = maps.device
        return [detections(boxes.to(device), rows.to(device), one.proposals, one.size_hw) for (boxes, rows), one in pairs], {}
