"""Settings of a detector, shared by all backends."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from lat.core.errors import InputError

TRANSFORMERS_DETECTORS = ("rtdetr", "rtdetr_v2", "deformable_detr")
DETECTORS = ("torchvision", "detectron2", "auto", *TRANSFORMERS_DETECTORS)
DETECTRON2_BACKBONES = ("small", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
TRANSFORMERS_BACKBONES = ("small", "resnet18", "resnet34", "resnet50", "resnet101")
_TWO_STAGE = ("torchvision", "detectron2", "auto")
_APPLIES_TO = {  # settings that not every detector has
    "detectron2_config": ("detectron2", "auto"),
    "detectron2_overrides": ("detectron2", "auto"),
    "transformers_overrides": TRANSFORMERS_DETECTORS,
    "trainable_layers": _TWO_STAGE,
    "regions_per_image": _TWO_STAGE,
    "nms_iou": _TWO_STAGE,
}


def backbone_names() -> tuple[str, ...]:
    """Every backbone of the torchvision detector: small, then the ResNets that torchvision offers."""
    from torchvision import models  # a second of import that not every command needs

    return ("small", *models.list_models(module=models, include=["resnet*", "resnext*", "wide_resnet*"]))


@dataclass(frozen=True)
class DetectorSettings:
    """Which detector to build, from which weights, and what it keeps of its detections.

    Raises:
        InputError: if a value is out of its range or not among the choices.
    """

    detector: str = (
        "torchvision"  # Faster R-CNN of torchvision, detectron2, or auto (detectron2 where it imports); rtdetr, rtdetr_v2
    )
    # or deformable_detr of transformers
    backbone: str = "small"  # small (for a CPU, learns from scratch), or a ResNet such as resnet50
    weights: str = "none"  # none, pretrained (the library's ImageNet weights), or a file; with detectron2 also detectron2://NAME;
    # with a detector of transformers none, a folder that `save_pretrained` wrote, or a name on the hub; the model is theirs then
    detectron2_config: str = ""  # YAML file of a Detectron2 model, takes the place of `backbone`; empty: built from `backbone`
    detectron2_overrides: list[str] = field(default_factory=list)  # KEY, VALUE, KEY, VALUE, ... in Detectron2's own names
    transformers_overrides: dict[str, Any] = field(default_factory=dict)  # of rtdetr, rtdetr_v2, deformable_detr: values of the
    # model's configuration by transformers' own names, such as {num_queries: 100}
    trainable_layers: int = 3  # of stem and four stages of a pretrained ResNet, how many train, from the last; the rest is frozen
    # (torchvision, detectron2)
    image_size: int = 0  # images are resized to this shorter side in pixels; 0 keeps their own size
    max_image_size: int = 1333  # the longer side stays below this when images are resized, in pixels
    regions_per_image: int = 0  # regions sampled from each image for the box loss; 0 for 64 with small and 512 otherwise
    # (torchvision, detectron2)
    score_threshold: float = 0.05  # detections with a lower score are dropped
    nms_iou: float = 0.5  # of two detections of one class that overlap more than this, the weaker one is dropped
    # (torchvision, detectron2; those of transformers need none)
    max_detections: int = 100  # detections kept in one image, best first

    def __post_init__(self) -> None:
        if self.detector not in DETECTORS:
            raise InputError("detector", f"is '{self.detector}'", f"choose one of {', '.join(DETECTORS)}")
        self._check_applies()
        if self.detector in TRANSFORMERS_DETECTORS:
            self._check_transformers()
        else:
            self._check_two_stage()
        for name in ("score_threshold", "nms_iou"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(name, f"is {getattr(self, name)}", "choose a number from 0 to 1")
        for name, least in (("image_size", 0), ("max_image_size", 1), ("regions_per_image", 0), ("max_detections", 1)):
            if getattr(self, name) < least:
                raise InputError(name, f"is {getattr(self, name)}", f"choose {least} or more")
        if not 0 <= self.trainable_layers <= 5:
            raise InputError("trainable_layers", f"is {self.trainable_layers}", "choose a number from 0 to 5")

    def _check_applies(self) -> None:
        """No setting may be changed that the detector does not have."""
        untouched = _defaults()
        for name, detectors in _APPLIES_TO.items():
            if self.detector not in detectors and getattr(self, name) != untouched[name]:
                choices = f"leave it out, or choose detector: {' or '.join(detectors)}"
                raise InputError(name, f"is set, but the detector is {self.detector}", choices)

    def _check_two_stage(self) -> None:
        if len(self.detectron2_overrides) % 2:
            raise InputError("detectron2_overrides", "has a key without a value", "write [KEY, VALUE, KEY, VALUE, ...]")
        if self.detector == "detectron2" and not self.detectron2_config and self.backbone not in DETECTRON2_BACKBONES:
            choices = f"choose one of {', '.join(DETECTRON2_BACKBONES)}, or give a detectron2_config"
            raise InputError("backbone", f"is '{self.backbone}', which is not built for detectron2", choices)
        self._check_backbone(backbone_names())
        if self.backbone == "small" and self.weights == "pretrained" and not self.detectron2_config:
            raise InputError("weights", "is 'pretrained', which the small backbone has not", "choose none, a file, or a ResNet")

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


def _defaults() -> dict[str, Any]:
    """The value of each setting that nobody has changed; made anew, for it holds lists."""
    made = {one.name: one.default_factory() for one in fields(DetectorSettings) if callable(one.default_factory)}
    return {one.name: one.default for one in fields(DetectorSettings)} | made
