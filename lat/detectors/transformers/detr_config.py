"""The configuration of a transformers detector: for one of our sizes, from a folder, or from a model on the hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig, RTDetrResNetConfig

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.transformers.detr_pixels import pixels_wanted

_PREFIXES = {"rtdetr": "RTDetr", "rtdetr_v2": "RTDetrV2", "deformable_detr": "DeformableDetr"}
_CLASS_KEYS = ("num_labels", "id2label", "label2id")  # follow from the label space


@dataclass(frozen=True)
class _Size:
    """A transformers ResNet and RT-DETR's layers on top of it, under the library's own names."""

    backbone: dict[str, Any]
    rtdetr: dict[str, Any]
    deformable_detr: dict[str, Any]


_THIN = {
    "d_model": 64,
    "decoder_ffn_dim": 128,
    "encoder_ffn_dim": 128,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
}
_SIZES = {
    "small": _Size(
        {"embedding_size": 32, "hidden_sizes": [32, 64, 128], "depths": [1, 1, 1], "layer_type": "basic"},
        _THIN
        | {
            "encoder_hidden_dim": 64,
            "decoder_in_channels": [64, 64, 64],
            "hidden_expansion": 0.25,
            "decoder_layers": 2,
            "num_queries": 60,
            "num_denoising": 40,
        },
        _THIN | {"encoder_layers": 1, "decoder_layers": 2, "num_queries": 60, "num_feature_levels": 3, "dropout": 0.0},
    ),
    "resnet18": _Size(
        {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"},
        {"hidden_expansion": 0.5, "decoder_layers": 3},
        {},
    ),
    "resnet34": _Size(
        {"hidden_sizes": [64, 128, 256, 512], "depths": [3, 4, 6, 3], "layer_type": "basic"},
        {"hidden_expansion": 0.5, "decoder_layers": 4},
        {},
    ),
    "resnet50": _Size({"depths": [3, 4, 6, 3]}, {}, {}),
    "resnet101": _Size(
        {"depths": [3, 4, 23, 3]},
        {"encoder_hidden_dim": 384, "encoder_ffn_dim": 2048, "decoder_in_channels": [384, 384, 384]},
        {},
    ),
}


def library_class(detector: str, suffix: str) -> Any:
    """A class of transformers for a detector: `Config` or `ForObjectDetection`."""
    return getattr(transformers, _PREFIXES[detector] + suffix)


def resolve_config(settings: DetectorSettings, class_names: Sequence[str]) -> PreTrainedConfig:
    """The configuration for the settings, with one class per name.

    Images may have any size, and the losses of all layers are asked for. `image_mean` and `image_std` are among its values.

    Raises:
        InputError: if an override is unknown or impossible, or the configuration of the named weights cannot be read or belongs
            to another detector.
    """
    kind = library_class(settings.detector, "Config")
    values = _own_values(settings) if settings.weights == "none" else _values_of(settings.weights, settings.detector, kind)
    _check_overrides(settings, kind)
    values |= pixels_wanted(settings.weights, settings.detector, values)
    own = {"anchor_image_size": None, "eval_size": None, "auxiliary_loss": True}
    values |= {name: value for name, value in own.items() if name in _known(kind)} | settings.overrides
    names = {"id2label": dict(enumerate(class_names)), "label2id": {name: i for i, name in enumerate(class_names)}}
    try:
        result: PreTrainedConfig = kind.from_dict(values | names)
        return result
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise _impossible(settings, error) from error


def describe(settings: DetectorSettings, space: LabelSpace) -> dict[str, str]:
    """The configuration as a checkpoint keeps it: all of it, as JSON.

    Raises:
        InputError: see `resolve_config`.
    """
    return {"transformers": config_to_text(resolve_config(settings, space.class_names))}


def config_to_text(config: PreTrainedConfig) -> str:
    """The whole configuration as JSON."""
    return json.dumps(config.to_dict(), sort_keys=True)


def config_from_text(detector: str, text: str) -> PreTrainedConfig:
    """The configuration of a detector from the output of `config_to_text`."""
    result: PreTrainedConfig = library_class(detector, "Config").from_dict(json.loads(text))
    return result


def build_network(settings: DetectorSettings, config: PreTrainedConfig) -> Any:
    """A transformers model with the library's own random weights.

    Raises:
        InputError: if the overrides give no valid model.
    """
    try:
        return library_class(settings.detector, "ForObjectDetection")(config)
    except Exception as error:
        if not settings.overrides:
            raise
        raise _impossible(settings, error) from error


def _impossible(settings: DetectorSettings, error: Exception) -> InputError:
    chosen = ", ".join(f"{name}: {value}" for name, value in settings.overrides.items())
    what = f"no {settings.detector} can be made with {{{chosen}}} ({' '.join(str(error).split())})"
    return InputError("overrides", what, "see the transformers documentation for valid values")


def _own_values(settings: DetectorSettings) -> dict[str, Any]:
    """A configuration that learns from scratch: the norms of its backbone train."""
    size = _SIZES[settings.backbone]
    stages = size.backbone.get("hidden_sizes", [256, 512, 1024, 2048])
    levels = range(len(stages) - 2, len(stages) + 1)  # the last three
    backbone = RTDetrResNetConfig(**size.backbone | {"out_indices": list(levels)})
    values: dict[str, Any] = {"backbone_config": backbone.to_dict()}
    if settings.detector == "deformable_detr":
        return values | {"with_box_refine": True} | size.deformable_detr
    strides = [2 ** (level + 1) for level in levels]
    return (
        values | {"freeze_backbone_batch_norms": False, "encoder_in_channels": stages[-3:], "feat_strides": strides} | size.rtdetr
    )


def _values_of(name: str, detector: str, kind: Any) -> dict[str, Any]:
    """The configuration in a folder or on the hub."""
    if Path(name).is_file():
        raise InputError("weights", f"{name} is a file", "name the folder that save_pretrained wrote, or a name on the hub")
    try:
        values, _ = kind.get_config_dict(name)
    except (OSError, ValueError) as error:
        raise not_fetched(name, error) from error
    if values.get("model_type") != kind.model_type:
        known = {library_class(other, "Config").model_type: other for other in _PREFIXES}
        held = values.get("model_type", "no model of transformers")
        remedy = f"choose detector: {known[held]}" if held in known else f"name the weights of a {kind.model_type}"
        raise InputError("weights", f"{name} contains {held}, but the detector is {detector}", remedy)
    return {key: value for key, value in values.items() if key not in _CLASS_KEYS}


def not_fetched(name: str, error: Exception) -> InputError:
    """The error for a folder or hub name that cannot be read."""
    line = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    if Path(name).is_dir():
        return InputError("weights", f"{name} cannot be read ({line})", "name a folder that save_pretrained wrote")
    what = f"{name} is not a local folder and could not be fetched from the hub ({line})"
    return InputError("weights", what, "check the name and the network, or name a folder that save_pretrained wrote")


def _known(kind: Any) -> set[str]:
    return {one.name for one in fields(kind)} - set(_CLASS_KEYS)


def _check_overrides(settings: DetectorSettings, kind: Any) -> None:
    known = sorted(_known(kind) - {one.name for one in fields(PreTrainedConfig)})
    for name in settings.overrides:
        if name not in known:
            nearest = get_close_matches(name, known, n=1, cutoff=0.0)[0]
            what = f"has '{name}', which {kind.__name__} does not have"
            raise InputError("overrides", what, f"did you mean {nearest}? known are {', '.join(known)}")
