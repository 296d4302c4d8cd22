"""Convolutional networks of timm as feature extractors: maps of given strides.

timm's transformers have maps of one stride, or need images of one size; such networks are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from lat.core.convnet_names import PACKAGED, timm_name
from lat.core.errors import InputError

STRIDES = (4, 8, 16, 32)
Rgb = tuple[float, ...]


def build_convnet(where: str, name: str, strides: tuple[int, ...], weights: Mapping[str, Tensor] | None = None) -> nn.Module:
    """A network that maps images (B, 3, H, W) to a list of maps (B, C, H / stride, W / stride), finest first.

    H and W are divisible by the coarsest stride. Layers that only coarser maps need are left out; all others train.

    Args:
        where: the setting that names it, for errors.
        name: timm's, or one of `ALIASES`.
        strides: some of `STRIDES`, ascending.
        weights: of the whole classifier in timm's layout, see `convnet_weights.py`; None for random ones.

    Raises:
        InputError: if the network has no such maps.
    """
    levels = _levels(where, name)
    net: nn.Module = _create(name, [levels[stride][0] for stride in strides], weights)
    return net


def channels_of(where: str, name: str, strides: tuple[int, ...]) -> list[int]:
    """Channels of the maps of `build_convnet`.

    Raises:
        InputError: if the network has no such maps.
    """
    levels = _levels(where, name)
    return [levels[stride][1] for stride in strides]


def normalisation_of(name: str) -> tuple[Rgb, Rgb]:
    """Mean and standard deviation of red, green and blue in [0, 1] that the network's ImageNet weights expect."""
    import timm

    known = PACKAGED.get(timm_name(name)) or timm.get_pretrained_cfg(timm_name(name))
    assert known is not None
    return known.mean, known.std


def freeze_up_to(net: nn.Module, level: int) -> None:
    """Freeze the parameters of a network of `build_convnet` that its map number `level` depends on."""
    parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
    maps = net(torch.zeros(1, 3, 64, 64))
    gradients = torch.autograd.grad(maps[level].sum(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is None)


@lru_cache
def _levels(where: str, name: str) -> dict[int, tuple[int, int]]:
    """timm's index and the channels of the map of each of `STRIDES`; builds it to see, and leaves random numbers alone."""
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            info = _create(name).feature_info
            found = {stride: index for index, stride in zip(info.out_indices, info.reduction(), strict=True)}
            net = _create(name, [found[stride] for stride in STRIDES])
            maps = net.eval()(torch.zeros(1, 3, 64, 96))
        channels = net.feature_info.channels()
        expected = [(1, width, 64 // stride, 96 // stride) for width, stride in zip(channels, STRIDES, strict=True)]
        if [tuple(one.shape) for one in maps] != expected:
            raise ValueError("maps of other sizes")
    except Exception as error:  # what a network of timm does with an option that it has not is its own affair
        what = f"is '{name}', which has no feature maps of strides {', '.join(map(str, STRIDES))} for images of any size"
        raise InputError(
            where, what, "choose a convolutional network, such as efficientnet_lite0 or mobilenetv3_large_100"
        ) from error
    return {stride: (found[stride], width) for stride, width in zip(STRIDES, channels, strict=True)}


def _create(name: str, indices: list[int] | None = None, weights: Mapping[str, Tensor] | None = None) -> Any:
    """timm's network with the maps of these indices, by default of all."""
    import timm

    net: Any
    chosen: dict[str, Any] = {} if indices is None else {"out_indices": tuple(indices)}
    if weights is None:
        net = timm.create_model(timm_name(name), features_only=True, pretrained=False, **chosen)
    else:
        given = {"state_dict": dict(weights)}
        with _silent("timm.models._builder"):  # it would warn that the classifier's last layers are not used
            net = timm.create_model(timm_name(name), features_only=True, pretrained=True, pretrained_cfg_overlay=given, **chosen)
    last = net.feature_info.module_name()[-1].split(".")
    if last[0] == "blocks" and hasattr(net, "blocks"):  # timm's EfficientNets and MobileNets would run all of them
        net.blocks = net.blocks[: int(last[1]) + 1]
    return net


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Let a logger of a library say nothing."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
