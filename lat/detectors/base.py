"""The `Detector` protocol, and building a detector from settings or from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.core.lazy_table import LazyTable
from lat.core.structures import LabeledBoxes
from lat.detectors.detector_settings import TRANSFORMERS_DETECTORS, DetectorSettings


@runtime_checkable
class Detector(Protocol):
    """A detector of one label space; also an `nn.Module`.

    Images are RGB, (3, H, W) float32 in [0, 1], in their original size, which may differ within a batch. Boxes are in pixels of
    the original image, labels are 0..K-1. The two methods hide background index, channel order and resizing.
    """

    space: LabelSpace

    def losses(self, images: list[Tensor], targets: list[LabeledBoxes]) -> dict[str, Tensor]:
        """Scalar loss terms by name, which the trainer sums; the model must be in train mode."""

    def predict(self, images: list[Tensor]) -> list[LabeledBoxes]:
        """Detections of each image, best first, with `class_scores` (N, K) beside `scores`; in either mode, without gradients."""


BACKENDS: Mapping[str, Callable[..., nn.Module]] = LazyTable(
    {
        "torchvision": "lat.detectors.torchvision.faster_rcnn:TorchvisionDetector",
        "detectron2": "lat.detectors.detectron2.detectron2_backend:Detectron2Detector",
        **dict.fromkeys(TRANSFORMERS_DETECTORS, "lat.detectors.transformers.detr:TransformersDetector"),
    }
)
"""The class of each detector, called with settings, label space and `load_weights`; a lookup imports its library."""

CONFIGURATIONS: Mapping[str, Callable[[DetectorSettings, LabelSpace], dict[str, str]]] = LazyTable(
    {
        "detectron2": "lat.detectors.detectron2.detectron2_config:describe",
        **dict.fromkeys(TRANSFORMERS_DETECTORS, "lat.detectors.transformers.detr_config:describe"),
    }
)
"""For detectors with their own configuration: the text that a checkpoint keeps of it, under the library's name."""


def build_detector(settings: DetectorSettings, space: LabelSpace, *, is_binary: bool = False) -> nn.Module:
    """A new `Detector` of `space` with the weights that the settings name; imports its library only now.

    With `detector: auto` it prints the library chosen.

    Args:
        settings: the detector.
        space: the label space to detect.
        is_binary: of the torchvision detector: whether every class has a sigmoid of its own in place of the softmax.

    Raises:
        InputError: if the library does not import, the backbone is unknown, or the weights cannot be read or do not fit.
    """
    resolved = resolve_detector(settings)
    if settings.detector == "auto":
        reason = "" if resolved.detector == "detectron2" else f" (Detectron2 does not import: {detectron2_problem()})"
        print(f"detector: auto takes {resolved.detector}{reason}")
    return _build(resolved, space, load_weights=True, is_binary=is_binary)


def resolve_detector(settings: DetectorSettings) -> DetectorSettings:
    """The same settings with `auto` resolved: Detectron2 if it imports, else torchvision.

    Raises:
        InputError: if the settings need Detectron2 and it does not import.
    """
    if settings.detector not in ("auto", "detectron2"):
        return settings
    problem = detectron2_problem()
    if problem is None:
        return replace(settings, detector="detectron2")
    if settings.detector == "detectron2" or settings.detectron2_config:
        where = "detector" if settings.detector == "detectron2" else "backbone"
        raise InputError(where, f"needs Detectron2, which does not import ({problem})", "see docs/detectron2.md to install it")
    return replace(settings, detector="torchvision", overrides={})


def detectron2_problem() -> str | None:
    """Why Detectron2 does not import, in one line; None if it does."""
    return _import_problem("detectron2.modeling")


def transformers_problem() -> str | None:
    """Why transformers, or scipy, which its losses need, does not import, in one line; None if both do."""
    return _import_problem("transformers") or _import_problem("scipy.optimize")


def _import_problem(module: str) -> str | None:
    try:
        import_module(module)
    except Exception as error:  # an incompatible library may raise anything
        return (str(error).splitlines() or [type(error).__name__])[0]
    return None


def _require_library(settings: DetectorSettings) -> None:
    """Check that transformers imports, if the settings need it; `resolve_detector` has checked Detectron2."""
    if settings.detector in TRANSFORMERS_DETECTORS and (problem := transformers_problem()) is not None:
        what = f"is {settings.detector}, which needs transformers, which does not import ({problem})"
        raise InputError("detector", what, "install lat-detection[detr]")


def describe_detector(settings: DetectorSettings, space: LabelSpace, *, is_binary: bool = False) -> dict[str, Any]:
    """What a checkpoint needs besides `model`, the state dict, for `detector_from_checkpoint`; plain types only.

    The settings name the library in use, never `auto`; for Detectron2 and transformers the whole configuration of the
    model is kept as text. `is_binary` is kept where it is true.
    """
    settings = resolve_detector(settings)
    content: dict[str, Any] = {"kind": "detector", "settings": asdict(settings), "space": space.to_dict()}
    if is_binary:
        content["is_binary"] = True
    if settings.detector in CONFIGURATIONS:
        _require_library(settings)
        content |= CONFIGURATIONS[settings.detector](settings, space)
    return content


def detector_from_checkpoint(content: Mapping[str, Any], *, dropout: float = 0.0) -> nn.Module:
    """The `Detector` of a checkpoint, in eval mode on the CPU; files named in its settings are not needed.

    Args:
        content: what `describe_detector` returned, and `model`, the state dict of the detector.
        dropout: of the torchvision detector: share of the box head's activations that are dropped if it is trained on.

    Raises:
        InputError: if the content is not a detector, was written by another version, needs a library that does not import, or
            its weights do not fit.
    """
    if content.get("kind") != "detector":
        raise InputError("checkpoint", f"contains '{content.get('kind')}', not a detector", "name the model.pt of a detector")
    settings = settings_from_checkpoint(content["settings"])
    if settings.detector == "detectron2" and (problem := detectron2_problem()) is not None:
        what = f"contains a detector of Detectron2, which does not import ({problem})"
        raise InputError("checkpoint", what, "see docs/detectron2.md to install it")
    has_config = settings.detector in CONFIGURATIONS
    config_text = (content.get("detectron2") or content.get("transformers")) if has_config else None
    options = {"is_binary": content.get("is_binary", False), "dropout": dropout}
    detector = _build(settings, LabelSpace.from_dict(content["space"]), load_weights=False, config_text=config_text, **options)
    return with_weights(detector, content["model"], "train the detector again")


def with_weights(model: nn.Module, weights: Mapping[str, Any], remedy: str) -> nn.Module:
    """The model itself, with the weights of a checkpoint, in eval mode.

    Raises:
        InputError: with the remedy, if they do not fit.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError("checkpoint", f"its weights do not fit: {error}", remedy) from error
    return model.eval()


def settings_from_checkpoint(values: Mapping[str, Any]) -> DetectorSettings:
    """The settings of a checkpoint, including ones that were renamed or removed since.

    Raises:
        InputError: if a name is unknown.
    """
    known, values = {field.name for field in fields(DetectorSettings)}, dict(values)
    values.pop("regions_per_image", None)  # of training alone
    flat, config = values.pop("detectron2_overrides", []), values.pop("detectron2_config", "")
    overrides = dict(zip(flat[::2], flat[1::2], strict=True)) | values.pop("transformers_overrides", {})
    if overrides:
        values["overrides"] = overrides
    if config:
        values["backbone"] = config
    if "score_threshold" in values:
        values["detection_threshold"] = values.pop("score_threshold")
    if unknown := sorted(set(values) - known):
        raise InputError("checkpoint", f"has unknown detector settings {', '.join(unknown)}", "train the detector again")
    return DetectorSettings(**values)


def _build(
    settings: DetectorSettings, space: LabelSpace, *, load_weights: bool, config_text: str | None = None, **options: Any
) -> nn.Module:
    """A detector of the library that the settings name; `auto` must be resolved.

    Args:
        settings: the detector.
        space: the label space to detect.
        load_weights: whether the weights that the settings name are read.
        config_text: the library's own configuration of a detector that was trained.
        options: `is_binary` and `dropout`, which only the torchvision detector has.
    """
    _require_library(settings)
    options = {name: value for name, value in options.items() if value}
    if config_text is not None:
        options["config_text"] = config_text
    return BACKENDS[settings.detector](settings, space, load_weights=load_weights, **options)
