"""Frozen backbones: an upstream detector's own features, convolutional networks, DINOv2, random convolutions; region pooling.

Shape letters: B images, C channels, H x W image pixels, h x w map cells, M boxes of an image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from lat.core.copies import to_device
from lat.core.errors import InputError
from lat.data.tensors import unit_range
from lat.models.backbones.convnet import load_convnet
from lat.models.backbones.dinov2 import load_dinov2
from lat.models.model_settings import DINOV2_MODELS, BackboneSettings


class FeatureExtractor(Protocol):
    """A network for a `FrozenBackbone`; also an `nn.Module`. Upstream detectors are such networks.

    Attributes:
        feature_stride: image pixels per map cell, exactly, on both axes.
    """

    feature_stride: int

    def feature_maps(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> (B, C, ceil(H / stride), ceil(W / stride)); padded only at the right and bottom."""
        ...


class FrozenBackbone(nn.Module):
    """Wraps a network that nothing can train: always in eval mode, without gradients.

    The network is not a submodule: it is in neither the `parameters()` nor the `state_dict()` of a model that contains this one,
    so optimisers, checkpoints and moving averages leave it alone. It follows `.to(...)`; copies of this module share it.

    Args:
        network: frozen in place; its `feature_maps` computes the features.
        image_size: shorter side in pixels to which images are resized first; 0 keeps their own size.
        max_image_size: the longer side stays at most this when images are resized; 0 for any.

    Attributes:
        channels: C of its maps.
        precision: opens the context in which the network computes: float32 as it is, or the autocast of a run.
    """

    channels: int
    precision: Callable[[], AbstractContextManager[Any]]

    def __init__(self, network: FeatureExtractor, image_size: int = 0, max_image_size: int = 0) -> None:
        super().__init__()
        assert isinstance(network, nn.Module)
        self.image_size, self.max_image_size = image_size, max_image_size
        self.precision: Callable[[], AbstractContextManager[Any]] = nullcontext
        # in a tuple, nn.Module does not register it as a submodule
        self._held: tuple[nn.Module, FeatureExtractor] = (network.requires_grad_(False).eval(), network)
        self._maps_of: Callable[[Tensor], Tensor] = network.feature_maps
        super().train(False)
        with torch.no_grad():
            self.channels = network.feature_maps(torch.zeros(1, 3, 64, 64, device=self.device, dtype=self.dtype)).shape[1]

    @property
    def network(self) -> nn.Module:
        """The frozen network."""
        return self._held[0]

    @property
    def device(self) -> torch.device:
        """The device of the frozen network."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the frozen network."""
        return next(self.network.parameters()).dtype

    def train(self, mode: bool = True) -> FrozenBackbone:
        """Stay in eval mode, whatever `mode` says."""
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FrozenBackbone:
        self.network._apply(fn, recurse)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenBackbone:
        other = copy(self)
        other.precision = self.precision
        return other

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets, which reads images and computes no maps: neither precision nor compiled code goes along."""
        return {**self.__dict__, "precision": nullcontext, "_maps_of": self._held[1].feature_maps}

    def compiled(self, backend: str = "inductor") -> FrozenBackbone:
        """This backbone itself. PyTorch compiles its network when it first sees images of a size, which takes a minute or so."""
        self._maps_of = torch.compile(self._held[1].feature_maps, backend=backend)
        return self

    def resized_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """(height, width) in pixels of an image of `size_hw` after resizing for the network."""
        if not self.image_size:
            return size_hw
        ratio = self.image_size / min(size_hw)
        if self.max_image_size:
            ratio = min(ratio, self.max_image_size / max(size_hw))
        return max(1, round(size_hw[0] * ratio)), max(1, round(size_hw[1] * ratio))

    def scales(self, size_hw: tuple[int, int]) -> tuple[float, float]:
        """Exact (scale_y, scale_x), map cells per original pixel, for images of `size_hw`; the axes differ by rounding."""
        height, width = self.resized_hw(size_hw)
        stride = self._held[1].feature_stride
        return height / (size_hw[0] * stride), width / (size_hw[1] * stride)

    @torch.no_grad()
    def feature_maps(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Features of images of one size, at the run's precision; bytes are resized and normalised on the network's device.

        Args:
            images: (B, 3, H, W) RGB, float in [0, 1] or uint8, original pixels.
            dtype: number format of the result.

        Returns:
            (B, C, h, w) on the network's device. The image covers exactly H * scale_y by W * scale_x cells; the rest is padding.
        """
        self.network.eval()  # the network's owner may have called train()
        with torch.inference_mode():
            pixels = unit_range(to_device(images, self.device))
            size_hw = self.resized_hw((pixels.shape[2], pixels.shape[3]))
            if size_hw != tuple(pixels.shape[2:]):
                pixels = F.interpolate(pixels, size_hw, mode="bilinear", align_corners=False, antialias=True)
            pixels = pixels.to(self.dtype)
            if self.device.type == "cuda":
                pixels = pixels.contiguous(memory_format=torch.channels_last)
            with self.precision():
                maps = self._maps_of(pixels)
        return torch.empty_like(maps, dtype=dtype).copy_(maps)  # a tensor that a trained model may use

    @cached_property
    def weights_fingerprint(self) -> str:
        """SHA-256 over the network's class, parameters and buffers, and the preprocessing: equal for equal features."""
        preprocessing = f"bilinear, antialiased, shorter side {self.image_size}"
        if self.image_size and self.max_image_size:
            preprocessing += f", longer side up to {self.max_image_size}"
        described = f"{type(self.network).__qualname__}, stride {self._held[1].feature_stride}, {self.channels} channels"
        digest = hashlib.sha256(f"{described}, {preprocessing}".encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


class RandomConvolutions(nn.Module):
    """Three random, untrained convolutions: shows label transfer with features that know nothing.

    Stride and channels match the small upstream detector.
    """

    feature_stride = 4

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 4, stride=4)]
        for _ in range(2):
            layers += [nn.GroupNorm(8, channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)]
        self.layers = nn.Sequential(*layers, nn.GroupNorm(8, channels))

    def feature_maps(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> (B, C, ceil(H / 4), ceil(W / 4)); padded with grey."""
        right, bottom = -images.shape[3] % self.feature_stride, -images.shape[2] % self.feature_stride
        result: Tensor = self.layers(F.pad(images - 0.5, (0, right, 0, bottom)))
        return result


def build_backbone(
    settings: BackboneSettings, upstream: FeatureExtractor | None = None, seed: int = 0, max_image_size: int = 0
) -> FrozenBackbone:
    """The frozen backbone that `settings` name.

    Args:
        settings: which network, with which weights, at which image size.
        upstream: the upstream detector whose features are used when `name` is upstream; frozen in place.
        seed: of random weights.
        max_image_size: longest side of its images, if it sees them at the size of its own training; 0 for any.

    Raises:
        InputError: if the settings need an upstream detector and it is missing or has no feature maps, or if the weights cannot
            be loaded.
    """
    if settings.name == "upstream":
        if upstream is None:
            raise InputError(
                "lat.backbone.name", "is 'upstream' but there is no upstream detector", "train one, or choose a dinov2 backbone"
            )
        if not hasattr(upstream, "feature_maps"):
            what = f"is 'upstream', but {type(upstream).__name__} provides no features"
            raise InputError(
                "lat.backbone.name", what, "choose upstream.model.detector torchvision or detectron2, or a dinov2 backbone"
            )
        return FrozenBackbone(upstream, settings.image_size, max_image_size)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if settings.name == "random":
            return FrozenBackbone(RandomConvolutions(), settings.image_size)
        if settings.name in DINOV2_MODELS:
            return FrozenBackbone(load_dinov2(settings.name, settings.weights, settings.blocks), settings.image_size)
        return FrozenBackbone(load_convnet(settings.name, settings.weights), settings.image_size)


def stack_maps(maps: Sequence[Tensor]) -> Tensor:
    """Stack maps of different sizes, (C, h_i, w_i), into (B, C, max h, max w).

    Smaller maps are extended with their last row and column, so that RoIAlign, which clamps at the border of a map, reads the
    same values at the border of an image as in the single map.
    """
    height, width = max(m.shape[1] for m in maps), max(m.shape[2] for m in maps)
    if all(m.shape[1:] == (height, width) for m in maps):
        return torch.stack(list(maps))
    padded = [F.pad(m[None], (0, width - m.shape[2], 0, height - m.shape[1]), mode="replicate") for m in maps]
    return torch.cat(padded)


def pool_regions(
    features: Tensor, boxes_xyxy: Sequence[Tensor], scales: Sequence[tuple[float, float]], output_size: int
) -> Tensor:
    """RoIAlign at the exact scale of each image and axis.

    torchvision's `MultiScaleRoIAlign` rounds scales to powers of two, which shifts boxes on a map of stride 14 by an eighth.

    Args:
        features: (B, C, h, w) maps, float16 or float32.
        boxes_xyxy: one (M_i, 4) float32 tensor per image, original pixels; M_i may be 0.
        scales: one (scale_y, scale_x) an image, map cells to one original pixel (`FrozenBackbone.scales`).
        output_size: side S of the pooled regions.

    Returns:
        (M_1 + ... + M_B, C, S, S) float32, regions in the order of the images.
    """
    image_index = torch.cat([boxes.new_full((len(boxes), 1), i) for i, boxes in enumerate(boxes_xyxy)])
    factors = to_device(torch.tensor([(x, y, x, y) for y, x in scales], dtype=torch.float32), features.device)
    on_map = torch.cat(list(boxes_xyxy)) * factors[image_index[:, 0].long()]
    regions = torch.cat([image_index, on_map], dim=1)
    result: Tensor = roi_align(features.float(), regions, output_size, spatial_scale=1.0, aligned=True)
    return result
