"""The meta-architecture that passes each image's labels to the proposal generator, in training and at inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    PROPOSAL_GENERATOR_REGISTRY,
    ROI_HEADS_REGISTRY,
    GeneralizedRCNN,
)
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from lat.core.errors import InputError
from lat.core.label_space import JointLabelSpace, LabelSpace
from lat.detectron2.components import (
    FEATURE,
    FrozenDINOv2,
    PrivilegedLabels,
    PrivilegedProposalGenerator,
    SemanticFeatureFusionROIHeads,
)
from lat.detectron2.config_node import read_lat_config
from lat.detectron2.conversion import boxes_from_instances
from lat.models.backbones.frozen import stack_maps

Inputs = Sequence[Mapping[str, Any]]  # the outputs of `LabelTransferMapper`

_PREFIX = "roi_heads.model."  # of the label-transfer model in the state dict of `LabelTransferRCNN`
_PARTS = {
    "BACKBONE": (BACKBONE_REGISTRY, FrozenDINOv2),
    "PROPOSAL_GENERATOR": (PROPOSAL_GENERATOR_REGISTRY, PrivilegedProposalGenerator),
    "ROI_HEADS": (ROI_HEADS_REGISTRY, SemanticFeatureFusionROIHeads),
}


@META_ARCH_REGISTRY.register()
class LabelTransferRCNN(GeneralizedRCNN):
    """Label transfer in Detectron2: frozen features, privileged proposals, semantic feature fusion.

    `GeneralizedRCNN` passes ground truth to the proposal generator only in training; here labels are also the input at
    inference. Each input is a dictionary:
        image: (3, H, W) in the order of `INPUT.FORMAT`, 0..255.
        label_space: the name of the image's own label space.
        instances: its ground truth, with `gt_boxes` and `gt_classes` (more in `conversion.instances_from_boxes`).
        pseudo_labels: {name of another label space: `Instances` as above}; may be missing.
        target_space: the output label space at inference, instead of `MODEL.LAT.TARGET`; may be missing.
        height, width: size of the output frame; by default that of the image.

    Raises:
        InputError: if a part of the model is not `lat`'s, or an input names no label space or an unknown one, or has no ground
            truth.
    """

    @configurable
    def __init__(self, *, joint: JointLabelSpace, target: str, **parts: Any) -> None:
        super().__init__(**parts)
        self.joint = joint
        self.target = target

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        settings = read_lat_config(cfg)
        for key, (registry, kind) in _PARTS.items():
            name = cfg.MODEL[key].NAME
            registered = registry.get(name) if name in registry else None
            if not (isinstance(registered, type) and issubclass(registered, kind)):
                raise InputError(f"MODEL.{key}.NAME", f"is '{name}'", f"LabelTransferRCNN needs {kind.__name__}")
        return {**super().from_config(cfg), "joint": settings.joint, "target": settings.target}

    def forward(self, batched_inputs: Inputs) -> Any:
        """In train mode {"loss_class", "loss_box"}, in eval mode what `inference` returns."""
        if not self.training:
            return self.inference(batched_inputs)
        labels = [self._labels(one) for one in batched_inputs]
        targets = [one.ground_truth.to(self.device) for one in labels]
        return self._run(self.preprocess_image(batched_inputs), labels, targets)[1]

    def inference(
        self, batched_inputs: Inputs, detected_instances: list[Instances] | None = None, do_postprocess: bool = True
    ) -> Any:
        """The labels of each image in its target space.

        Returns:
            [{"instances": `Instances` of `conversion.detections` in the frame height x width}], or, without `do_postprocess`,
            [`Instances` in the frame of the image].
        """
        assert not self.training
        assert detected_instances is None, "labels are transferred from the inputs, not from given detections"
        images = self.preprocess_image(batched_inputs)
        labels, targets = [self._labels(one) for one in batched_inputs], [self._target(one) for one in batched_inputs]
        results, _ = self._run(images, labels, targets)
        return self._postprocess(results, batched_inputs, images.image_sizes) if do_postprocess else results

    def _run(self, images: ImageList, labels: Sequence[PrivilegedLabels], targets: Sequence[Any]) -> Any:
        features = self._features(images)
        proposals, _ = self.proposal_generator(images, features, labels)
        scales_yx = [self.backbone.frozen.scales(size_hw) for size_hw in images.image_sizes]
        return self.roi_heads(images, features, proposals, targets, scales_yx)

    def _features(self, images: ImageList) -> dict[str, Tensor]:
        """Maps (B, C, h, w), computed without the padding of `images`: a vision transformer would attend to it."""
        sizes = images.image_sizes
        maps: dict[int, Tensor] = {}
        for size_hw in dict.fromkeys(sizes):
            rows = [i for i, other in enumerate(sizes) if other == size_hw]
            found = self.backbone(torch.stack([images[i] for i in rows]))[FEATURE]
            maps.update(zip(rows, found, strict=True))
        return {FEATURE: stack_maps([maps[i] for i in range(len(sizes))])}

    def _labels(self, one: Mapping[str, Any]) -> PrivilegedLabels:
        own = self._space(one, one.get("label_space", ""), "label_space")
        if "instances" not in one:
            what = "has no ground truth, which transfer needs"
            raise InputError(one.get("file_name", "an input"), what, "load it with lat.detectron2.build_test_loader")
        given = one.get("pseudo_labels", {})
        for name in given:
            self._space(one, name, "pseudo_labels")
        return PrivilegedLabels(
            boxes_from_instances(one["instances"].to("cpu"), own),
            tuple(boxes_from_instances(given[s.name].to("cpu"), s) for s in self.joint.spaces if s.name in given),
        )

    def _target(self, one: Mapping[str, Any]) -> str:
        name = one.get("target_space") or self.target
        return self._space(one, name, "target_space (or MODEL.LAT.TARGET)").name

    def _space(self, one: Mapping[str, Any], name: str, key: str) -> LabelSpace:
        if name not in self.joint.names:
            where = one.get("file_name", "an input")
            raise InputError(where, f"its {key} is '{name}'", f"give one of {', '.join(self.joint.names)}")
        return self.joint.spaces[self.joint.index(name)]


def transfer_weights(model: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the `LabelTransferModel` inside a `LabelTransferRCNN`, or inside the state dict of one."""
    state = model.state_dict() if isinstance(model, nn.Module) else model
    return {key.removeprefix(_PREFIX): value for key, value in state.items() if key.startswith(_PREFIX)}


def load_transfer_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Set the weights of a `LabelTransferRCNN` from a `LabelTransferModel`, such as `model` in the model.pt of `lat train-lat`.

    Raises:
        InputError: if a weight is missing, unexpected or of another shape.
    """
    try:
        model.load_state_dict({f"{_PREFIX}{key}": value for key, value in weights.items()})
    except RuntimeError as error:
        what = " ".join(str(error).split())
        raise InputError("weights", f"do not fit the model: {what}", "set MODEL.LAT to the settings of their training") from None
