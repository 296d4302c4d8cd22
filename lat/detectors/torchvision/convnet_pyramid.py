"""A convolutional network of timm with a feature pyramid."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch.nn.functional as F
from timm.layers.norm_act import FrozenBatchNormAct2d, freeze_batch_norm_2d
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from lat.core.convnet_weights import check_fit
from lat.core.convnets import STRIDES, build_convnet, channels_of, freeze_up_to, normalisation_of


class ConvnetPyramid(nn.Module):
    """Maps images (B, 3, H, W) to the levels "0", "1", ... of a pyramid, each (B, C, H / stride, W / stride).

    Args:
        name: timm's name of the network, or one of `ALIASES`.
        strides: of the levels, ascending.
        out_channels: channels of every level.
        has_extra_level: whether a level "pool" of twice the coarsest stride is added.
        trainable_layers: None for weights that learn from scratch. For weights of another training batch norms are frozen, and of
            the stem and the stages of strides 4, 8, 16 and 32 so many train, from the last; the stem trains only with the first.
        weights: as for `build_convnet`.

    Raises:
        InputError: if the network has no such maps.
    """

    def __init__(
        self,
        name: str,
        strides: tuple[int, ...],
        out_channels: int,
        *,
        has_extra_level: bool,
        trainable_layers: int | None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        body = build_convnet("backbone", name, strides, weights)
        self.body: nn.Module = body if trainable_layers is None else _with_frozen_norms(body)
        if trainable_layers is not None and trainable_layers < len(STRIDES):
            freeze_up_to(self.body, min(len(STRIDES) - 1 - trainable_layers, len(strides) - 1))
        extra = LastLevelMaxPool() if has_extra_level else None
        self.fpn = FeaturePyramidNetwork(channels_of("backbone", name, strides), out_channels, extra)
        self.out_channels = out_channels
        self.mean, self.std = normalisation_of(name)
        self.name, self.strides = name, strides

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        levels = OrderedDict((str(index), level) for index, level in enumerate(self.body(images)))
        result: OrderedDict[str, Tensor] = self.fpn(levels)
        return result

    def of_classifier(self, weights: Mapping[str, Tensor], path: str) -> dict[str, Tensor]:
        """The state dict of `body` from that of a classifier in timm's layout.

        Raises:
            InputError: naming the file, if a tensor is missing or has another shape.
        """
        check_fit(weights, self.name, Path(path))
        return build_convnet("backbone", self.name, self.strides, weights).state_dict()


class _FrozenNorm(FrozenBatchNormAct2d):
    """timm's frozen norm in one kernel, where timm multiplies and adds in two: a training step on a CPU takes a tenth less."""

    running_mean: Tensor
    running_var: Tensor
    weight: Tensor
    bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        normed = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps)
        result: Tensor = self.act(self.drop(normed))
        return result


def _with_frozen_norms(body: nn.Module) -> nn.Module:
    """The network with all batch norms frozen."""
    frozen: nn.Module = freeze_batch_norm_2d(body)  # type: ignore[no-untyped-call]
    for module in frozen.modules():
        if isinstance(module, FrozenBatchNormAct2d):
            module.__class__ = _FrozenNorm
    return frozen
