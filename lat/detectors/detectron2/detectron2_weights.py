"""Weights for a Detectron2 model: a local file, or a name that Detectron2 downloads."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from detectron2.utils.file_io import PathManager
from torch import Tensor, nn

from lat.core.errors import InputError
from lat.detectors.weight_files import PREDICTOR, describe_misfit

_OTHER_TASKS = ("roi_heads.mask_head.", "roi_heads.keypoint_head.", "proposal_generator.anchor_generator.", "pixel_")
_HARMLESS = {
    ("collections", "OrderedDict"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("_codecs", "encode"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
}


def load_detectron2_weights(detector: nn.Module, class_names: Sequence[str], name: str) -> None:
    """Load weights into a Detectron2 model, or only into its backbone.

    Accepts a checkpoint of `lat` with this backend, a `.pth` file of Detectron2's checkpointer and a `.pkl` file of its model
    zoo, matching names as Detectron2 does. A detector's last layer depends on its classes: it is loaded only from a checkpoint
    of `lat` with the same class names.

    Args:
        detector: a `GeneralizedRCNN`.
        class_names: the classes of `detector`.
        name: a file, or a `detectron2://` or `https://` name, which is downloaded.

    Raises:
        InputError: if the file does not exist, cannot be downloaded or read, or its weights do not fit.
    """
    content = _read(_local_path(name), name)
    if content.get("settings", {}).get("detector", "detectron2") != "detectron2":
        raise InputError(name, f"is a checkpoint of a {content['settings']['detector']} detector", "choose one of detectron2")
    state = _aligned(detector, content, name)
    own = {key: value for key, value in detector.state_dict().items() if not key.endswith("num_batches_tracked")}
    if content.get("space", {}).get("class_names") != list(class_names):
        own = {key: value for key, value in own.items() if not key.startswith(PREDICTOR)}
        state = {key: value for key, value in state.items() if not key.startswith(PREDICTOR)}
    _require_fit(own, state, name)
    detector.load_state_dict({key: value for key, value in state.items() if key in own}, strict=False)


def _local_path(name: str) -> Path:
    if "://" not in name:
        if not Path(name).is_file():
            raise InputError(name, "weights file not found", "give none, pretrained, an existing file or detectron2://NAME")
        return Path(name)
    try:
        return Path(PathManager.get_local_path(name))
    except Exception as error:  # the download libraries may raise anything
        what = f"the weights could not be downloaded ({type(error).__name__})"
        raise InputError(name, what, "give the path of a local file") from error


class _PlainUnpickler(pickle.Unpickler):
    """Reads only arrays and plain types: a pickle can run any code that it names."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"names {module}.{name}")
        return super().find_class(module, name)


def _read(path: Path, name: str) -> dict[str, Any]:
    """The content of a file, with the weights under `model`."""
    try:
        if path.suffix == ".pkl":
            with path.open("rb") as file:
                content = _PlainUnpickler(file, encoding="latin1").load()
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpicklers may raise anything
        raise InputError(name, f"cannot be read as weights ({type(error).__name__})", "name a .pth or .pkl file") from error
    if not isinstance(content, dict):
        raise InputError(name, f"contains a {type(content).__name__}, not a state dict", "name a file with a state dict")
    if path.suffix == ".pkl" and not {"model", "__author__"} <= content.keys():
        weights = {key: value for key, value in content.get("blobs", content).items() if not key.endswith("_momentum")}
        return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}
    return content if isinstance(content.get("model"), dict) else {"model": content}


def _aligned(detector: nn.Module, content: dict[str, Any], name: str) -> dict[str, Tensor]:
    """The tensors of a file under the names of `detector`; where names are guessed, unknown layers are dropped."""
    arrays = content["model"].items()
    given = {key: torch.as_tensor(value) for key, value in arrays if isinstance(value, Tensor | np.ndarray)}
    if not given:
        raise InputError(name, "contains no weights", "name a file with a state dict")
    if not content.get("matching_heuristics", False):
        return {key: value for key, value in given.items() if not key.startswith(_OTHER_TASKS)}
    own = detector.state_dict()
    try:
        matched = align_and_update_state_dicts(own, given, c2_conversion=content.get("__author__") == "Caffe2")
    except (KeyError, ValueError, AssertionError) as error:
        raise InputError(name, f"its names could not be matched ({type(error).__name__})", "name another file") from error
    return {key: value for key, value in matched.items() if key in own}


def _require_fit(own: dict[str, Tensor], given: dict[str, Tensor], name: str) -> None:
    """Raise unless `given` fills the whole model, or at least its backbone below the pyramid."""
    given = {key: value for key, value in given.items() if not key.endswith("num_batches_tracked")}
    wanted = set(own)
    if not any(key.startswith("proposal_generator.") for key in given):
        body = "backbone.bottom_up." if any(key.startswith("backbone.bottom_up.") for key in own) else "backbone."
        wanted = {key for key in own if key.startswith(body)}
    if misfit := describe_misfit(own, given, wanted):
        raise InputError(name, f"weights do not fit the model: {misfit}", "name the model they were made for")
