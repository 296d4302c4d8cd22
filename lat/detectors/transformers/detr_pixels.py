"""The pixel normalisation of a transformers detector: none, or by a mean and a standard deviation.

The configuration of a model, and so its checkpoint, has both as `image_mean` and `image_std`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig
from transformers.image_processing_base import ImageProcessingMixin

from lat.core.errors import InputError
from lat.detectors.image_batch import IMAGENET_MEAN, IMAGENET_STD

_AS_THEY_ARE = {"image_mean": (0.0, 0.0, 0.0), "image_std": (1.0, 1.0, 1.0)}
_FILE = "preprocessor_config.json"


def pixels_wanted(weights: str, detector: str, config_values: Mapping[str, Any]) -> dict[str, list[float]]:
    """`image_mean` and `image_std` of pixels in [0, 1], three floats each.

    They come from the processor next to the weights, else from the weights' configuration, which has them if `lat` wrote it, else
    from the library's processor for this detector: RT-DETR's leaves pixels unchanged, Deformable-DETR's has ImageNet's values.

    Args:
        weights: none, a folder, or a name on the hub.
        detector: its name in the settings.
        config_values: the configuration next to the weights.

    Raises:
        InputError: if the processor in a folder cannot be read, or has no three numbers.
    """
    imagenet = {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD}
    normalises = detector == "deformable_detr"
    values = imagenet if normalises else _AS_THEY_ARE
    values = values | {name: config_values[name] for name in imagenet if name in config_values}
    processor = {} if weights == "none" else _processor(weights)
    if processor and not processor.get("do_normalize", normalises):
        values = _AS_THEY_ARE
    elif processor:
        values = imagenet | {name: processor[name] for name in imagenet if name in processor}
        if not _make_sense(values):
            what = f"{Path(weights) / _FILE}: image_mean and image_std are no three numbers"
            raise InputError("weights", what, "correct the file, or remove it")
    return {name: [float(one) for one in three] for name, three in values.items()}


def pixels_of_checkpoint(config: PreTrainedConfig) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of a model; those of ImageNet where its configuration says nothing, which all once had."""
    return getattr(config, "image_mean", list(IMAGENET_MEAN)), getattr(config, "image_std", list(IMAGENET_STD))


def _processor(weights: str) -> dict[str, Any]:
    """The values of the image processor beside weights; nothing if there is none."""
    if not Path(weights).is_dir():
        try:
            return ImageProcessingMixin.get_image_processor_dict(weights)[0]
        except OSError:
            return {}
    file = Path(weights) / _FILE
    if not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("weights", f"{file} cannot be read ({error})", "correct the file, or remove it") from error
    if not isinstance(values, dict):
        raise InputError("weights", f"{file} holds no values by name", "correct the file, or remove it")
    return values


def _make_sense(values: Mapping[str, Any]) -> bool:
    def are_numbers(three: Any) -> bool:
        return (
            isinstance(three, list | tuple)
            and len(three) == 3
            and all(isinstance(one, int | float) and math.isfinite(one) for one in three)
        )

    return are_numbers(values["image_mean"]) and are_numbers(values["image_std"]) and all(one > 0 for one in values["image_std"])
