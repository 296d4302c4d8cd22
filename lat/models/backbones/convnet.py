"""Convolutional networks of timm as frozen backbones, with ImageNet, local or random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lat.core.convnet_weights import check_fit, read_pretrained, read_tensors
from lat.core.convnets import build_convnet, normalisation_of
from lat.models.model_settings import CONVNET_STRIDES


class Convnet(nn.Module):
    """Two maps of a convolutional network side by side: that of stride 8, and that of stride 16 with every cell four times.

    Args:
        network: maps images to the two maps, see `build_convnet`.
        mean: of red, green and blue, in [0, 1].
        std: likewise.
    """

    feature_stride = CONVNET_STRIDES[0]
    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def feature_maps(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> (B, C, ceil(H / 8), ceil(W / 8)); padded with the mean colour."""
        height, width = images.shape[2:]
        right, bottom = -width % CONVNET_STRIDES[1], -height % CONVNET_STRIDES[1]
        fine, coarse = self.network(F.pad((images - self.mean) / self.std, (0, right, 0, bottom)))
        both = torch.cat([fine, F.interpolate(coarse, scale_factor=2.0)], dim=1)
        return both[:, :, : -(-height // self.feature_stride), : -(-width // self.feature_stride)]


def load_convnet(backbone: str, weights: str) -> Convnet:
    """A convolutional network with its weights.

    Args:
        backbone: timm's name, or one of `ALIASES`.
        weights: pretrained (see `find_pretrained`), none (random, from torch's global generator), or the path of a file.

    Raises:
        InputError: if the network has no such maps, or the weights are not found, cannot be read, or belong to another network.
    """
    given = None
    if weights == "pretrained":
        given = read_pretrained("lat.backbone.weights", backbone)
    elif weights != "none":
        given = read_tensors(Path(weights), "lat.backbone.weights")
        check_fit(given, backbone, Path(weights))
    return Convnet(build_convnet("lat.backbone.name", backbone, CONVNET_STRIDES, given), *normalisation_of(backbone))
