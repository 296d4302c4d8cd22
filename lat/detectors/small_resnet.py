"""A small ResNet with a feature pyramid that learns from scratch on a CPU within a minute."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock
from torchvision.ops import FeaturePyramidNetwork

_STEM_CHANNELS = 24
_STAGE_CHANNELS = (32, 64, 128)


def _stage(in_channels: int, channels: int) -> nn.Sequential:
    """One residual block that halves the resolution."""
    shortcut = nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride=2, bias=False), nn.BatchNorm2d(channels))
    return nn.Sequential(BasicBlock(in_channels, channels, stride=2, downsample=shortcut))


class SmallResNet(nn.Module):
    """Stem of stride 2, three residual stages, and a feature pyramid on strides 4, 8 and 16.

    Built for pictures of 100 to 300 pixels. Every convolution starts from He initialisation, every norm layer trains.
    """

    strides = (4, 8, 16)

    def __init__(self, out_channels: int = 64) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.stem = nn.Sequential(
            nn.Conv2d(3, _STEM_CHANNELS, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(_STEM_CHANNELS),
            nn.ReLU(inplace=True),
        )
        widths = (_STEM_CHANNELS, *_STAGE_CHANNELS)
        self.stages = nn.ModuleList(_stage(narrow, wide) for narrow, wide in pairwise(widths))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.pyramid = FeaturePyramidNetwork(list(_STAGE_CHANNELS), out_channels)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Map images (B, 3, H, W) with H and W divisible by 16 to levels "0".."2", each (B, C, H / stride, W / stride)."""
        levels: OrderedDict[str, Tensor] = OrderedDict()
        x = self.stem(images)
        for index, stage in enumerate(self.stages):
            x = levels[str(index)] = stage(x)
        result: OrderedDict[str, Tensor] = self.pyramid(levels)
        return result
