"""What a detector is to the rest of `lat`, its settings, and how one is built or read back from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from lat.detectors.settings import DetectorSettings
from lat.errors import InputError
from lat.label_space import LabelSpace
from lat.structures import LabeledBoxes


@runtime_checkable
class Detector(Protocol):
    """A detector of one label space; also an `nn.Module`.

    Images are RGB, (3, H, W) float32 in [0, 1], in their original size, which may differ within a batch. Boxes are in pixels of
    the original image, labels are 0..K-1. Background index, channel order and resizing stay behind these two methods.
    """

    space: LabelSpace

    def losses(self, images: list[Tensor], targets: list[LabeledBoxes]) -> dict[str, Tensor]:
        """Named loss terms, each a scalar, to be summed by the trainer; the model must be in train mode."""

    def predict(self, images: list[Tensor]) -> list[LabeledBoxes]:
        """Detections of each image, best first, with `class_scores` (N, K) beside `scores`; needs no mode, takes no gradient."""


def build_detector(settings: DetectorSettings, space: LabelSpace) -> nn.Module:
    """A new `Detector` of `space` with the weights that the settings name; its library is imported here and not before.

    Raises:
        InputError: if the backbone is unknown, or the weights cannot be read or do not fit.
    """
    return _build(settings, space, load_weights=True)


def describe_detector(settings: DetectorSettings, space: LabelSpace) -> dict[str, Any]:
    """What a checkpoint must hold beside `model`, the state dict, for `detector_from_checkpoint`; plain types only."""
    described_space = {"name": space.name, "class_names": list(space.class_names), "category_ids": list(space.category_ids)}
    return {"kind": "detector", "settings": asdict(settings), "space": described_space}


def space_from_description(content: Mapping[str, Any]) -> LabelSpace:
    """The label space in the checkpoint content that `describe_detector` wrote."""
    described = content["space"]
    return LabelSpace(described["name"], tuple(described["class_names"]), tuple(described["category_ids"]))


def detector_from_checkpoint(content: Mapping[str, Any]) -> nn.Module:
    """The `Detector` that a checkpoint holds, in eval mode on the CPU; files named in its settings are not needed.

    Args:
        content: what `describe_detector` returned, and `model`, the state dict of the detector.

    Raises:
        InputError: if the content is no detector, was written by another version, or its weights do not fit.
    """
    if content.get("kind") != "detector":
        raise InputError("checkpoint", f"holds '{content.get('kind')}', not a detector", "name the model.pt of a detector")
    unknown = sorted(set(content["settings"]) - {field.name for field in fields(DetectorSettings)})
    if unknown:
        raise InputError("checkpoint", f"has unknown detector settings {', '.join(unknown)}", "train the detector again")
    detector = _build(DetectorSettings(**content["settings"]), space_from_description(content), load_weights=False)
    try:
        detector.load_state_dict(content["model"])
    except RuntimeError as error:
        raise InputError("checkpoint", f"its weights do not fit: {error}", "train the detector again") from error
    return detector.eval()


def _build(settings: DetectorSettings, space: LabelSpace, *, load_weights: bool) -> nn.Module:
    # A second library gets its branch here; `DetectorSettings` has already refused every other name.
    from lat.detectors.torchvision_backend import TorchvisionDetector

    return TorchvisionDetector(settings, space, load_weights=load_weights)
