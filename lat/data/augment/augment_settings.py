"""Settings of how training images are varied."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from lat.core.errors import InputError


@dataclass(frozen=True)
class AugmentationSettings:
    """Section `augmentation`: how training images are varied, for every model.

    Raises:
        InputError: if a value is not in [0, 1].
    """

    horizontal_flip: float = 0.5  # probability of mirroring image and boxes left to right
    color_jitter: float = 0.2  # of detectors: brightness, contrast and saturation are each scaled by 1 - this to 1 + this
    scale: list[float] = field(default_factory=lambda: [0.7, 1.4])  # of detectors, [smallest, largest]: images are scaled by a
    # factor between these, on a canvas of their own size; [1, 1] for none

    def __post_init__(self) -> None:
        for name in ("horizontal_flip", "color_jitter"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(name, f"is {value}", "choose a number from 0 to 1")
        _check_scale(self.scale)


@dataclass(frozen=True)
class NoiseSettings:
    """How the images of a training are varied beyond its augmentation; by default not at all.

    Raises:
        InputError: if a value is out of its range.
    """

    color: float = 0.0  # brightness, contrast and saturation change by up to this share, hue by a quarter of it
    blur: float = 0.0  # probability of a Gaussian blur
    widen: list[float] = field(default_factory=lambda: [0.0, 0.0])  # in each round after the first, the smallest of
    # augmentation.scale is multiplied by 1 - the first of these, the largest by 1 + the second
    mosaic: float = 0.0  # probability that an image is put together with three others
    dropout: float = 0.0  # share of the box head's activations that are dropped (torchvision)

    def __post_init__(self) -> None:
        for name in ("color", "blur", "mosaic", "dropout"):
            most = 0.99 if name == "dropout" else 1.0
            if not 0.0 <= getattr(self, name) <= most:
                raise InputError(name, f"is {getattr(self, name)}", f"choose a number from 0 to {most:g}")
        if len(self.widen) != 2 or not (0.0 <= self.widen[0] <= 0.99 and 0.0 <= self.widen[1] <= 10.0):
            raise InputError("widen", f"is {list(self.widen)}", "choose two numbers, from 0 to 0.99 and from 0 to 10")

    @property
    def changes_images(self) -> bool:
        """True if images are varied, but for their scale, which is part of every augmentation."""
        return bool(self.color or self.blur or self.mosaic)

    def widened(self, augmentation: AugmentationSettings, times: int) -> AugmentationSettings:
        """The augmentation when its scales have been widened that often.

        Source: DARS, section 3.3: [(1 - beta_min) s_min, (1 + beta_max) s_max].
        """
        (smallest, largest), (below, above) = augmentation.scale, self.widen
        return replace(augmentation, scale=[smallest * (1 - below) ** times, largest * (1 + above) ** times])


def _check_scale(scale: list[float]) -> None:
    """Refuse what is no range of factors."""
    if len(scale) != 2 or not 0.0 < scale[0] <= scale[1] <= 10.0:
        raise InputError("scale", f"is {list(scale)}", "choose [smallest, largest], 0 < smallest <= largest <= 10")
