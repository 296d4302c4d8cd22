"""ImageNet weights of timm's convolutional networks: from an installed package, the hub's local cache, the hub, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lat.core.convnet_names import PACKAGED, packaged_file, timm_name
from lat.core.errors import InputError, looked_for

_COUNTER = "num_batches_tracked"


def find_pretrained(where: str, name: str) -> Path:
    """The file of a network's ImageNet weights: of a package, or in the local cache of the hub, downloaded to it if need be.

    Args:
        where: the setting that asks for them, for errors.
        name: timm's, or one of `ALIASES`.

    Raises:
        InputError: if timm knows of none, or they are not on this machine and the hub does not answer.
    """
    if (path := packaged_file(name)) is not None:
        return path
    import timm
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    entry, config = PACKAGED.get(timm_name(name)), timm.get_pretrained_cfg(timm_name(name))
    remedy = f"{f'install {entry.package}, ' if entry else ''}give the path of a file, or choose none"
    if config is None or not config.hf_hub_id:
        raise InputError(where, f"is 'pretrained', but timm knows of no weights of {name}", remedy)
    source = (config.hf_hub_id, config.hf_hub_filename or "model.safetensors")
    if isinstance(cached := try_to_load_from_cache(*source), str):
        return Path(cached)
    try:
        return Path(hf_hub_download(*source))
    except Exception as error:  # the download libraries share no exception class
        what = f"is 'pretrained', but the weights of {name} are not on this machine and cannot be downloaded"
        raise InputError(where, f"{what} ({type(error).__name__})", remedy) from error


def read_pretrained(where: str, name: str) -> dict[str, Tensor]:
    """The ImageNet weights of a network, by timm's names.

    Raises:
        InputError: as `find_pretrained`, or if the file cannot be read or does not fit.
    """
    path = find_pretrained(where, name)
    tensors = read_tensors(path, where)
    return renamed(tensors, name, path) if path == packaged_file(name) else tensors


def read_tensors(path: Path, where: str) -> dict[str, Tensor]:
    """Tensors by name, from a `.safetensors` file or one written by torch, where they may lie under `model` or `state_dict`.

    Raises:
        InputError: if the file does not exist, cannot be read, or has no tensors.
    """
    if not path.is_file():
        raise InputError(
            path, f"there is no such file of weights{looked_for(path)}", f"correct {where}, or choose pretrained or none"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises any of a dozen classes, from pickle's to zipfile's
        what = f"cannot be read as weights ({type(error).__name__})"
        raise InputError(path, what, "give a .pth or .safetensors file") from error
    if not isinstance(content, dict):
        raise InputError(path, f"contains a {type(content).__name__}, not weights", "give a .pth or .safetensors file")
    content = next((content[key] for key in ("model", "state_dict") if isinstance(content.get(key), dict)), content)
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def renamed(tensors: Mapping[str, Tensor], name: str, path: Path) -> dict[str, Tensor]:
    """Tensors of a classifier in the order of timm's, by timm's names; counters of batches are left out.

    Raises:
        InputError: naming the file, if their number differs, or the shape or the last part of the name of one.
    """
    given = {key: value for key, value in tensors.items() if not key.endswith(_COUNTER)}
    own = _classifier(name)
    if len(given) != len(own):
        raise _misfit(path, name, f"{len(given)} tensors in place of {len(own)}")
    for (theirs, value), (ours, wanted) in zip(given.items(), own.items(), strict=True):
        if value.shape != wanted.shape or theirs.rpartition(".")[2] != ours.rpartition(".")[2]:
            raise _misfit(path, name, f"{theirs} {tuple(value.shape)} in place of {ours} {tuple(wanted.shape)}")
    return dict(zip(own, given.values(), strict=True))


def check_fit(tensors: Mapping[str, Tensor], name: str, path: Path) -> None:
    """Check that a file has all tensors of a network but its classifier's, by timm's names.

    Raises:
        InputError: naming the file and the first tensor that is missing or has another shape.
    """
    import timm

    config = timm.get_pretrained_cfg(timm_name(name))
    named = config.classifier if config is not None and config.classifier else ()
    last = (named,) if isinstance(named, str) else tuple(named)
    for key, wanted in _classifier(name).items():
        if not key.startswith(last) and (key not in tensors or tensors[key].shape != wanted.shape):
            what = (
                f"{key} is missing" if key not in tensors else f"{key} is {tuple(tensors[key].shape)}, not {tuple(wanted.shape)}"
            )
            raise _misfit(path, name, what)


def _classifier(name: str) -> dict[str, Tensor]:
    """The tensors of timm's whole classifier, in its order, without counters; random numbers are as before."""
    import timm

    with torch.random.fork_rng(devices=[]):
        net: nn.Module = timm.create_model(timm_name(name), pretrained=False)
    return {key: value for key, value in net.state_dict().items() if not key.endswith(_COUNTER)}


def _misfit(path: Path, name: str, what: str) -> InputError:
    return InputError(path, f"does not have the weights of {name}: {what}", "choose a file for that network")
