"""timm's DINOv2 vision transformers as frozen backbones, with downloaded, local or random weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lat.core.convnet_weights import read_tensors
from lat.core.errors import InputError
from lat.models.model_settings import DINOV2_MODELS, DINOV2_PATCH

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Dinov2(nn.Module):
    """A timm DINOv2 vision transformer: normalised patch tokens of its blocks as a map of stride 14.

    Args:
        model: a timm `VisionTransformer` made with `dynamic_img_size` and `dynamic_img_pad`.
        blocks: number of blocks whose tokens are concatenated in the map, spread evenly up to the last; 1 for only the last.

    Source: Oquab et al., DINOv2; Darcet et al., Vision Transformers Need Registers.
    """

    feature_stride = DINOV2_PATCH
    mean: Tensor
    std: Tensor

    def __init__(self, model: VisionTransformer, blocks: int = 1) -> None:
        super().__init__()
        depth = len(model.blocks)
        if blocks > depth:
            raise InputError("lat.backbone.blocks", f"is {blocks}, and the model has {depth}", f"choose a number up to {depth}")
        self.model = model
        self.blocks = [depth * (number + 1) // blocks - 1 for number in range(blocks)]
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).view(3, 1, 1))

    def feature_maps(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> (B, blocks C, ceil(H / 14), ceil(W / 14)); padded with the mean colour."""
        normalised = (images - self.mean) / self.std
        maps = self.model.forward_intermediates(normalised, indices=self.blocks, norm=True, intermediates_only=True)
        assert isinstance(maps, list)
        return torch.cat(maps, dim=1)


def load_dinov2(backbone: str, weights: str, blocks: int = 1) -> Dinov2:
    """One of `DINOV2_MODELS` with its weights.

    Args:
        backbone: a key of `DINOV2_MODELS`.
        weights: pretrained (downloaded once), none (random, from torch's global generator), or the path of a file.
        blocks: see `Dinov2`.

    Raises:
        InputError: if the weights cannot be downloaded or read, or belong to another model, or the model has fewer blocks.
    """
    import timm
    from timm.models.vision_transformer import VisionTransformer

    stored = None if weights in ("pretrained", "none") else read_tensors(Path(weights), "lat.backbone.weights")
    pretrained = weights == "pretrained"
    name = DINOV2_MODELS[backbone]
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=0, dynamic_img_size=True, dynamic_img_pad=True)
    except Exception as error:  # the download libraries share no exception class
        if not pretrained:
            raise
        what = f"the weights of {backbone} could not be downloaded ({type(error).__name__})"
        raise InputError("lat.backbone.weights", what, "give the path of a local file, as weights: PATH") from error
    assert isinstance(model, VisionTransformer)
    if stored is not None:
        set_weights(model, stored, Path(weights), backbone)
    return Dinov2(model, blocks)


def set_weights(model: VisionTransformer, weights: dict[str, Tensor], path: Path, backbone: str) -> None:
    """Load weights in timm's layout or that of the original DINOv2 release; every key must match.

    Raises:
        InputError: naming `path` and `backbone`, if a key is missing or unexpected, or a tensor has another shape.
    """
    from timm.models.vision_transformer import checkpoint_filter_fn

    def refuse(what: str) -> InputError:
        return InputError(path, f"does not have the weights of {backbone}: {what}", "choose a file for that model")

    try:
        keys = model.load_state_dict(checkpoint_filter_fn(weights, model), strict=False)
    except (RuntimeError, KeyError, AttributeError, TypeError) as error:  # another shape, or not a dictionary of tensors
        raise refuse((str(error) or type(error).__name__).strip().splitlines()[-1].strip()) from error
    by_kind = zip(("missing", "unexpected"), keys, strict=True)
    problems = [f"{len(names)} {kind} (first {names[0]})" for kind, names in by_kind if names]
    if problems:
        raise refuse(f"keys {', '.join(problems)}")
