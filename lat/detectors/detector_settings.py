"""Settings of a detector, shared by all backends, and of a YOLO."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lat.core.convnet_names import check_convnet_name
from lat.core.errors import InputError

TRANSFORMERS_DETECTORS = ("rtdetr", "rtdetr_v2", "deformable_detr")
DETECTORS = ("torchvision", "detectron2", "auto", *TRANSFORMERS_DETECTORS)
DOWNSTREAM_DETECTORS = (*DETECTORS, "yolo")  # a YOLO is built and trained by its own library
TORCHVISION_BACKBONES = (
    *("small", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
)
"""Every backbone of the torchvision detector: small, then the ResNets that torchvision offers; asking it takes a second."""
DETECTRON2_BACKBONES = ("small", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
TRANSFORMERS_BACKBONES = ("small", "resnet18", "resnet34", "resnet50", "resnet101")
_TWO_STAGE = ("torchvision", "detectron2", "auto")
_APPLIES_TO = {  # settings that not every detector has
    "overrides": ("detectron2", "auto", *TRANSFORMERS_DETECTORS),
    "trainable_layers": _TWO_STAGE,
    "nms_iou": _TWO_STAGE,
}
YOLO_STRIDE = 32
"""Sides of what a YOLO sees are multiples of it."""


@dataclass(frozen=True)
class DetectorSettings:
    """Which detector to build, from which weights, and what it keeps of its detections.

    Raises:
        InputError: if a value is out of its range or not among the choices.
    """

    detector: str = "torchvision"  # Faster R-CNN of torchvision, detectron2, or auto (detectron2 where it imports); rtdetr,
    # rtdetr_v2 or deformable_detr of transformers; downstream also yolo, whose settings are those of `yolo` beside `model`
    backbone: str = "small"  # small (for a CPU, learns from scratch), efficientnet_lite0 (for a CPU, with weights: pretrained), a
    # ResNet such as resnet50; of torchvision also any convolutional network of timm, of detectron2 the YAML file of a model
    weights: str = "none"  # none, pretrained (ImageNet weights; those of efficientnet_lite0 come with lat), or a file; with
    # detectron2 also detectron2://NAME; with a detector of transformers none, a folder that `save_pretrained` wrote, or a name on
    # the hub; the model is theirs then
    overrides: dict[str, Any] = field(default_factory=dict)  # of detectron2, rtdetr, rtdetr_v2, deformable_detr: values of the
    # model's configuration by the library's own names, such as {num_queries: 100}
    trainable_layers: int = 3  # of stem and four stages of a pretrained backbone, how many train, from the last; the rest is
    # frozen (torchvision, detectron2)
    image_size: int = 0  # images are resized to this shorter side in pixels; 0 keeps their own size
    max_image_size: int = 1333  # the longer side stays below this when images are resized, in pixels
    detection_threshold: float = 0.05  # detections with a lower score are dropped
    nms_iou: float = 0.5  # of two detections of one class that overlap more than this, the weaker one is dropped
    # (torchvision, detectron2; those of transformers need none)
    max_detections: int = 100  # detections kept per image, best first

    def __post_init__(self) -> None:
        if self.detector not in DOWNSTREAM_DETECTORS:
            raise InputError("detector", f"is '{self.detector}'", f"choose one of {', '.join(DOWNSTREAM_DETECTORS)}")
        if self.detector == "yolo":
            return
        self._check_applies()
        if self.detector in TRANSFORMERS_DETECTORS:
            self._check_transformers()
        else:
            self._check_two_stage()
        for name in ("detection_threshold", "nms_iou"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(name, f"is {getattr(self, name)}", "choose a number from 0 to 1")
        for name, least in (("image_size", 0), ("max_image_size", 1), ("max_detections", 1)):
            if getattr(self, name) < least:
                raise InputError(name, f"is {getattr(self, name)}", f"choose {least} or more")
        if not 0 <= self.trainable_layers <= 5:
            raise InputError("trainable_layers", f"is {self.trainable_layers}", "choose a number from 0 to 5")

    @property
    def detectron2_config(self) -> str:
        """The YAML file of a Detectron2 model that `backbone` names, or an empty string."""
        return self.backbone if Path(self.backbone).suffix in (".yaml", ".yml") else ""

    def _check_applies(self) -> None:
        """No setting may be changed that the detector does not have."""
        untouched = {"overrides": {}, "trainable_layers": 3, "nms_iou": 0.5}
        for name, detectors in _APPLIES_TO.items():
            if self.detector not in detectors and getattr(self, name) != untouched[name]:
                choices = f"leave it out, or choose detector: {' or '.join(detectors)}"
                raise InputError(name, f"is set, but the detector is {self.detector}", choices)
        if self.detectron2_config and self.detector not in ("detectron2", "auto"):
            what = f"is the configuration {self.backbone}, but the detector is {self.detector}"
            raise InputError("backbone", what, "name a backbone, or choose detector: detectron2 or auto")

    def _check_two_stage(self) -> None:
        if self.detectron2_config:
            return
        if self.detector == "detectron2" and self.backbone not in DETECTRON2_BACKBONES:
            choices = f"choose one of {', '.join(DETECTRON2_BACKBONES)}, or the YAML file of a Detectron2 model"
            raise InputError("backbone", f"is '{self.backbone}', which is not built for detectron2", choices)
        check_convnet_name("backbone", self.backbone, TORCHVISION_BACKBONES)
        if self.backbone == "small" and self.weights == "pretrained":
            raise InputError(
                "weights", "is 'pretrained', which the small backbone has not", "choose none, a file, or efficientnet_lite0"
            )

    def _check_transformers(self) -> None:
        if self.weights == "pretrained":
            remedy = "choose none, a folder that save_pretrained wrote, or a name on the hub such as PekingU/rtdetr_r18vd"
            raise InputError("weights", f"is 'pretrained', which {self.detector} has not", remedy)
        if self.weights != "none" and self.backbone != "small":
            raise InputError(
                "backbone", f"is '{self.backbone}', but the weights bring their own", "leave it out, or weights: none"
            )
        self._check_backbone(TRANSFORMERS_BACKBONES)

    def _check_backbone(self, choices: tuple[str, ...]) -> None:
        if self.backbone not in choices:
            nearest = get_close_matches(self.backbone, choices, n=1, cutoff=0.0)[0]
            raise InputError("backbone", f"is '{self.backbone}'", f"did you mean {nearest}? choose one of {', '.join(choices)}")


@dataclass(frozen=True)
class YoloSettings:
    """Which YOLO to train, and from which weights.

    Raises:
        InputError: if a value is out of its range.
    """

    model: str = "yolo11n.yaml"  # NAME.yaml starts from scratch; NAME.pt is a file, or weights such as yolo11n.pt to download
    image_size: int = 640  # images are resized to this longer side in pixels, a multiple of 32

    def __post_init__(self) -> None:
        if Path(self.model).suffix not in (".yaml", ".pt"):
            raise InputError("model", f"is '{self.model}'", "name a .yaml such as yolo11n.yaml, or a .pt such as yolo11n.pt")
        if self.image_size < YOLO_STRIDE or self.image_size % YOLO_STRIDE:
            raise InputError("image_size", f"is {self.image_size}", f"choose a multiple of {YOLO_STRIDE}")
