"""Initial weights of a transformers detector: an initialisation that can learn from scratch, or pretrained weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers.backbone_utils import load_backbone

from lat.core.errors import InputError
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.transformers.detr_config import library_class, not_fetched
from lat.detectors.weight_files import describe_misfit

CLASS_LAYERS = ("class_embed.", "enc_score_head.", "denoising_class_embed.")
_PRIOR = 0.01  # score of every class of Deformable-DETR before training
_SIDE = 0.12  # width and height of its boxes before training, as shares of the image


def unfreeze_backbone(network: Any) -> None:
    """Make the backbone's layers and norms trainable in a Deformable-DETR that starts from scratch; the library freezes them."""
    network.model.backbone.model = load_backbone(network.config)


@torch.no_grad()
def initialise(network: Any) -> None:
    """Draw initial weights that can learn from scratch; the library's are meant for models that are then loaded from a file.

    The library initialises the norms of RT-DETR's encoder near 0, so that almost nothing passes them, every score of
    Deformable-DETR at one half, and all its queries at the centre of the image. Weights that the library sets to 0 stay 0.
    """
    for name, module in network.named_modules():
        if name.startswith("model.backbone."):
            continue
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, a=1)
        elif isinstance(module, nn.Linear) and module.weight.any():
            nn.init.xavier_uniform_(module.weight)
    if network.config.model_type == "deformable_detr":
        _spread_queries(network)


def _spread_queries(network: Any) -> None:
    """As in the paper's code: queries spread over the image, with small boxes and low scores."""
    if not network.config.two_stage:
        nn.init.normal_(network.model.query_position_embeddings.weight)
    for classes, boxes in zip(network.class_embed, network.bbox_embed, strict=True):
        nn.init.constant_(classes.bias, _logit(_PRIOR))
        nn.init.zeros_(boxes.layers[-1].weight)
        nn.init.zeros_(boxes.layers[-1].bias)
    first = network.bbox_embed[0].layers[-1].bias
    first[2:] = _logit(_SIDE)


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def load_pretrained(network: Any, settings: DetectorSettings, class_names: Sequence[str]) -> None:
    """Load weights from the folder or the hub name in `settings.weights`.

    The class layers are loaded only from a model with the same class names.

    Raises:
        InputError: if the weights cannot be read, some are missing, or some do not fit.
    """
    name = settings.weights
    try:
        given, report = library_class(settings.detector, "ForObjectDetection").from_pretrained(
            name, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # a damaged file may raise anything
        raise not_fetched(name, error) from error
    same_classes = list(given.config.id2label.values()) == list(class_names)
    absent = set(report["missing_keys"]) | {entry[0] for entry in report["mismatched_keys"]}

    def taken(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {key: value for key, value in state.items() if same_classes or not any(layer in key for layer in CLASS_LAYERS)}

    own, held = taken(network.state_dict()), taken(given.state_dict())
    held = {key: value for key, value in held.items() if key not in absent}
    if misfit := describe_misfit(own, held, own):
        raise InputError("weights", f"those of {name} do not fit: {misfit}", "remove overrides that change the model")
    network.load_state_dict(held, strict=False)
