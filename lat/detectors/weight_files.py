"""Load weights from a local file: the state dict of a backbone or a whole detector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lat.core.errors import InputError

PREDICTOR = "roi_heads.box_predictor."
_SHOWN = 5


def load_weight_file(
    detector: nn.Module,
    backbone: nn.Module,
    class_names: Sequence[str],
    path: str,
    convert: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
) -> None:
    """Load weights into a detector, or only into its backbone, from a file written by `torch.save`.

    Accepts a checkpoint of `lat`, a state dict of torchvision's `FasterRCNN`, and a state dict of a classification ResNet
    (without its `fc` layer) or of the small backbone; also inside a dict under `model` or `state_dict`. A detector's last layer
    depends on its classes: it is loaded only from a checkpoint of `lat` with the same class names.

    Args:
        detector: has submodules named as in torchvision's `FasterRCNN`.
        backbone: the part of `detector` that a backbone's state dict fills, without feature pyramid.
        class_names: the classes of `detector`.
        path: the file, of torch or `.safetensors`.
        convert: makes a classifier's state dict that of `backbone`; by default its `fc` layer is left out.

    Raises:
        InputError: if the file is missing or unreadable, or a weight is missing, unexpected or of another shape.
    """
    content = _read(path)
    state = next((content[key] for key in ("model", "state_dict") if isinstance(content.get(key), dict)), content)
    state = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not state:
        raise InputError(path, "contains no weights", "name a file with a state dict")
    left_out: tuple[str, ...] = ()
    module = detector
    if any(name.startswith("backbone.") for name in state):
        if content.get("space", {}).get("class_names") != list(class_names):
            left_out = (PREDICTOR,)
    else:
        module = backbone
        left_out = ("fc.",)
        state = state if convert is None else convert(state)
    _load(module, state, left_out, path)


def _read(path: str) -> dict[str, Any]:
    if not Path(path).is_file():
        raise InputError(path, "weights file not found", "give none, pretrained or an existing file")
    try:
        if path.endswith(".safetensors"):
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load's unpickler may raise anything
        raise InputError(path, f"cannot be read as weights ({type(error).__name__})", "name a file with a state dict") from error
    if not isinstance(content, dict):
        raise InputError(path, f"contains a {type(content).__name__}, not a state dict", "name a file with a state dict")
    return content


def _load(module: nn.Module, state: dict[str, Tensor], left_out: tuple[str, ...], path: str) -> None:
    """Copy `state` into `module`, ignoring names under `left_out` and the counters that frozen norms lack."""

    def concerns(name: str) -> bool:
        return not name.startswith(left_out) and not name.endswith("num_batches_tracked")

    own = {name: value for name, value in module.state_dict().items() if concerns(name)}
    given = {name: value for name, value in state.items() if concerns(name)}
    if misfit := describe_misfit(own, given, own):
        raise InputError(path, f"weights do not fit the backbone: {misfit}", "name the backbone they were made for")
    module.load_state_dict(given, strict=False)


def describe_misfit(own: Mapping[str, Tensor], given: Mapping[str, Tensor], wanted: Iterable[str]) -> str:
    """Which `wanted` weights are missing, and which `given` ones are unexpected or of another shape; empty if all fit."""
    problems = {
        "missing": sorted(set(wanted) - given.keys()),
        "unexpected": sorted(given.keys() - own.keys()),
        "of another shape": sorted(name for name in own.keys() & given.keys() if own[name].shape != given[name].shape),
    }
    return ", ".join(f"{len(names)} {what} ({_first(names)})" for what, names in problems.items() if names)


def _first(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
