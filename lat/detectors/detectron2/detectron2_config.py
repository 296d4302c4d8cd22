"""Detectron2's configuration of a detector: from a YAML file or the built-in model, with our settings on top."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from detectron2.config import CfgNode, get_cfg

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.image_batch import IMAGENET_MEAN, IMAGENET_STD

_SMALL_BACKBONE = "LatSmallResNet"  # the class's name in Detectron2's registry
_SUPPORTED = {
    "MODEL.META_ARCHITECTURE": ("GeneralizedRCNN",),
    "MODEL.PROPOSAL_GENERATOR.NAME": ("RPN",),
    "MODEL.ROI_HEADS.NAME": ("StandardROIHeads", "Res5ROIHeads"),
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": (False,),
    "INPUT.FORMAT": ("RGB", "BGR"),
}
_PRETRAINED = {"resnet50": "detectron2://ImageNetPretrained/torchvision/R-50.pkl"}
_WRONG_CONFIG = (KeyError, ValueError, AssertionError, AttributeError, TypeError, RecursionError, ImportError)


def resolve_config(settings: DetectorSettings, num_classes: int) -> CfgNode:
    """The whole configuration of a detector. In rising precedence: Detectron2's defaults, the YAML file or the built-in model,
    our settings, the overrides, and the number of classes.

    Our settings decide norm layers and freezing: without weights nothing is frozen, `FrozenBN` becomes `BN`, and pixels are
    divided by ImageNet's standard deviations if the file has none; with weights all but the last `trainable_layers` are frozen.
    Masks and keypoints are switched off, and no device is set.

    Raises:
        InputError: if the file cannot be read, or has a YAML tag, an unknown key or an unsupported part.
    """
    config = get_cfg()
    if settings.detectron2_config:
        _merge_file(config, settings.detectron2_config)
    else:
        _build_in(config, settings)
    _apply_settings(config, settings)
    with wrong_config("overrides"):
        config.merge_from_list([part for entry in settings.overrides.items() for part in entry])
    config.MODEL.ROI_HEADS.NUM_CLASSES = num_classes
    config.MODEL.DEVICE = "cpu"
    config.MODEL.MASK_ON = config.MODEL.KEYPOINT_ON = False
    _check(config, settings.detectron2_config or "overrides")
    config.freeze()
    return config


def describe(settings: DetectorSettings, space: LabelSpace) -> dict[str, str]:
    """The configuration as a checkpoint keeps it: its `dump()`.

    Raises:
        InputError: see `resolve_config`.
    """
    return {"detectron2": resolve_config(settings, len(space)).dump()}


def config_from_text(text: str) -> CfgNode:
    """The configuration whose `dump()` is `text`, from a checkpoint.

    Raises:
        InputError: if the installed Detectron2 does not know all of it.
    """
    config = get_cfg()
    with wrong_config("checkpoint"):
        config.merge_from_other_cfg(CfgNode(yaml.safe_load(text)))
    config.freeze()
    return config


@contextmanager
def wrong_config(where: str) -> Iterator[None]:
    """Turn any exception of Detectron2 about a configuration into a one-line `InputError` about `where`."""
    try:
        yield
    except _WRONG_CONFIG as error:
        raise InputError(where, _explain(error), "correct it there; docs/detectron2.md says what is supported") from error


def _explain(error: Exception) -> str:
    """The problem in one line; Detectron2's own message is good for what it checks, and missing otherwise."""
    words = str(error.args[0] if isinstance(error, KeyError) and error.args else error).split()
    match error:
        case RecursionError():
            return "its _BASE_ leads back to itself"
        case KeyError() if len(words) == 1:
            return f"there is no '{words[0]}'"
        case ImportError():  # a layer that only Detectron2's compiled extension has
            return f"needs what the installed Detectron2 lacks ({' '.join(words)})"
        case KeyError() | ValueError() | AssertionError():
            return " ".join(words) or "is not a Detectron2 configuration"
    return f"does not have the structure of a Detectron2 configuration ({' '.join(words)})"


def _merge_file(config: CfgNode, path: str) -> None:
    if not Path(path).is_file():
        raise InputError(path, "there is no such Detectron2 configuration", "check the path")
    try:
        with wrong_config(path):
            config.merge_from_file(path, allow_unsafe=False)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "is not valid YAML"
        mark = getattr(error, "problem_mark", None)
        line = f"{Path(mark.name).name} line {mark.line + 1}: " if mark else ""
        raise InputError(path, f"cannot be read ({line}{problem})", "write plain values, without YAML tags") from error
    except OSError as error:
        what = f"its _BASE_ cannot be read ({error.strerror or type(error).__name__}: {error.filename})"
        raise InputError(path, what, "correct the path there") from error


def _build_in(config: CfgNode, settings: DetectorSettings) -> None:
    """A Faster R-CNN with a feature pyramid on the backbone in the settings; ImageNet's pixel statistics in RGB."""
    config.INPUT.FORMAT = "RGB"
    _set_imagenet_pixels(config)
    config.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
    head = config.MODEL.ROI_BOX_HEAD
    head.NAME, head.NUM_FC, head.POOLER_RESOLUTION = "FastRCNNConvFCHead", 2, 7
    if settings.backbone == "small":
        _build_in_small(config)
    else:
        _build_in_resnet(config, int(settings.backbone.removeprefix("resnet")))
    if settings.weights == "pretrained":
        if settings.backbone not in _PRETRAINED:
            choices = f"choose {', '.join(_PRETRAINED)}, the YAML file of a Detectron2 model, or a file"
            raise InputError("weights", f"Detectron2 has no pretrained {settings.backbone} for its built-in model", choices)
        config.MODEL.WEIGHTS = _PRETRAINED[settings.backbone]


def _build_in_small(config: CfgNode) -> None:
    # Same values as torchvision's small detector, so that both learn alike.
    config.MODEL.BACKBONE.NAME = _SMALL_BACKBONE
    config.MODEL.ANCHOR_GENERATOR.SIZES = [[12, 20, 30], [44, 64, 90]]
    config.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = [[0.5, 1.0, 2.0]]
    rpn = config.MODEL.RPN
    rpn.IN_FEATURES, rpn.BATCH_SIZE_PER_IMAGE, rpn.SMOOTH_L1_BETA = ["p3", "p4"], 64, 1 / 9
    rpn.PRE_NMS_TOPK_TRAIN = rpn.PRE_NMS_TOPK_TEST = 200
    rpn.POST_NMS_TOPK_TRAIN, rpn.POST_NMS_TOPK_TEST = 64, 150
    config.MODEL.ROI_HEADS.IN_FEATURES = ["p2"]
    config.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 64
    head = config.MODEL.ROI_BOX_HEAD
    head.FC_DIM, head.SMOOTH_L1_BETA, head.POOLER_TYPE, head.POOLER_SAMPLING_RATIO = 192, 1 / 9, "ROIAlign", 1


def _build_in_resnet(config: CfgNode, depth: int) -> None:
    # Lin et al., Feature Pyramid Networks (2017), sections 4.1 and 4.2
    config.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
    resnets = config.MODEL.RESNETS
    resnets.DEPTH, resnets.STRIDE_IN_1X1, resnets.NORM = depth, False, "FrozenBN"
    resnets.RES2_OUT_CHANNELS = 64 if depth < 50 else 256
    resnets.OUT_FEATURES = config.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    config.MODEL.ANCHOR_GENERATOR.SIZES = [[32], [64], [128], [256], [512]]
    rpn = config.MODEL.RPN
    rpn.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    rpn.PRE_NMS_TOPK_TRAIN, rpn.PRE_NMS_TOPK_TEST = 2000, 1000
    rpn.POST_NMS_TOPK_TRAIN = rpn.POST_NMS_TOPK_TEST = 1000
    config.MODEL.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]


def _apply_settings(config: CfgNode, settings: DetectorSettings) -> None:
    if settings.weights == "none":
        config.MODEL.WEIGHTS = ""
        config.MODEL.BACKBONE.FREEZE_AT = 0
        for part in (config.MODEL.RESNETS, config.MODEL.FPN, config.MODEL.ROI_BOX_HEAD):
            part.NORM = "BN" if part.NORM == "FrozenBN" else part.NORM
        if all(deviation == 1.0 for deviation in config.MODEL.PIXEL_STD):
            _set_imagenet_pixels(config)
    else:
        config.MODEL.BACKBONE.FREEZE_AT = 5 - settings.trainable_layers
    config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = settings.detection_threshold
    config.MODEL.ROI_HEADS.NMS_THRESH_TEST = settings.nms_iou
    config.TEST.DETECTIONS_PER_IMAGE = settings.max_detections
    config.INPUT.MIN_SIZE_TEST, config.INPUT.MAX_SIZE_TEST = settings.image_size, settings.max_image_size


def _set_imagenet_pixels(config: CfgNode) -> None:
    step = -1 if config.INPUT.FORMAT == "BGR" else 1
    config.MODEL.PIXEL_MEAN = [255 * value for value in IMAGENET_MEAN[::step]]
    config.MODEL.PIXEL_STD = [255 * value for value in IMAGENET_STD[::step]]


def _check(config: CfgNode, where: str) -> None:
    for key, choices in _SUPPORTED.items():
        value = config
        for part in key.split("."):
            value = value[part]
        if value not in choices:
            remedy = f"choose {' or '.join(str(choice) for choice in choices)}"
            raise InputError(where, f"{key} is '{value}', which this detector does not support", remedy)
