"""What is known before the first step of a run: settings under which a stage would fail, perhaps after hours.

Everything here reads settings and sizes alone, so that `lat check` can say the same as `lat run`; torch is asked only about a
network of timm that `ALIASES` does not list.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from math import ceil
from pathlib import Path

from lat.config.load import Config
from lat.core.convnet_names import ALIASES, packaged_file
from lat.core.errors import InputError, looked_for
from lat.data.dataset import load_dataset
from lat.detectors.detector_settings import TORCHVISION_BACKBONES, TRANSFORMERS_DETECTORS, DetectorSettings
from lat.engine.trackers import check_trackers
from lat.engine.training_settings import check_batch_size
from lat.models.feature_files import available_memory
from lat.models.model_settings import BACKBONES, CONVNET_STRIDES, DINOV2_MODELS, DINOV2_PATCH
from lat.workspace.run_folder import run_folder

_DINOV2_CHANNELS = {"s": 384, "b": 768, "l": 1024, "g": 1536}  # by the size in the name
_NUMBER_BYTES = {"float16": 2, "float32": 4}


def check_upstream(config: Config, processes: int) -> None:
    """Raise an `InputError` if upstream detectors cannot be trained with these settings by so many processes."""
    check_trackers(config.training.trackers)
    if config.runtime.upstream_parallel != "datasets":  # of which one process trains each
        check_batch_size("upstream", config.upstream.training.batch_size, processes)
    _check_model("upstream.model", config.upstream.model)


def check_lat(config: Config, sizes_hw: Iterable[tuple[int, int]], processes: int, here: int) -> None:
    """Raise an `InputError` if the label-transfer model cannot be trained with these settings.

    Whether its features fit is looked up as long as there is no model yet: later ones may be there already.

    Args:
        config: the settings.
        sizes_hw: height and width of every training image of all datasets.
        processes: how many train together.
        here: how many of them share the memory of this machine.
    """
    check_trackers(config.training.trackers)
    check_batch_size("lat", config.lat.training.batch_size, processes)
    backbone = config.lat.backbone
    is_file = backbone.name not in ("upstream", "random") and backbone.weights not in ("none", "pretrained")
    if is_file and not Path(backbone.weights).is_file():
        raise _no_file("lat.backbone.weights", backbone.weights)
    if backbone.name not in BACKBONES:
        _check_convnet("lat.backbone", "name", backbone.name, backbone.weights)
    folder = run_folder(config.output_dir)
    if backbone.cache == "none" or (folder / "lat" / "model.pt").is_file():
        return
    needed = feature_bytes(config, sizes_hw)
    if backbone.cache == "memory":
        _check_room(needed * here, available_memory(), "memory", "set lat.backbone.cache=disk")
    else:
        room = _free_disk(folder) + _size_of(folder / "cache")
        _check_room(needed, room, "disk", "free some of the disk, or set lat.backbone.cache=none")


def check_downstream(config: Config, processes: int) -> None:
    """Raise an `InputError` if the downstream detector cannot be trained with these settings by so many processes."""
    check_trackers(config.training.trackers)
    model = config.downstream.model
    if model.detector == "yolo":
        weights = Path(config.downstream.yolo.model)
        if weights.suffix == ".pt" and weights.name != str(weights) and not weights.is_file():
            raise _no_file("downstream.yolo.model", str(weights))
        return
    check_batch_size("downstream", config.downstream.training.batch_size, processes)
    _check_model("downstream.model", model)


def foreseen_problems(config: Config) -> Iterator[InputError]:
    """What `lat run` in one process would refuse before its first step; the datasets are sound."""
    sizes_hw = [size for one in config.datasets for size in map(tuple, load_dataset(one)[0].labels.sizes_hw.tolist())]
    checks: list[Callable[[], None]] = [lambda: check_upstream(config, 1), lambda: check_lat(config, sizes_hw, 1, 1)]
    checks += [lambda: check_downstream(config, 1)] if config.downstream.in_run else []
    told: set[str] = set()
    for check in checks:
        try:
            check()
        except InputError as error:
            if str(error) not in told:
                yield error
            told.add(str(error))


def feature_bytes(config: Config, sizes_hw: Iterable[tuple[int, int]]) -> int:
    """Bytes of the frozen backbone's maps of images of these sizes, flipped ones too if they are trained on.

    0 where the size of the maps is not known before the backbone is built: that of a detector of Detectron2.
    """
    shape = _map_shape(config)
    if shape is None:
        return 0
    stride, channels = shape
    backbone, model = config.lat.backbone, config.upstream.model
    side, longest = backbone.image_size, 0
    if backbone.name == "upstream" and not side:
        side, longest = model.image_size, model.max_image_size
    cells = 0
    for height, width in sizes_hw:
        ratio = side / min(height, width) if side else 1.0
        ratio = min(ratio, longest / max(height, width)) if side and longest else ratio
        cells += ceil(max(1, round(height * ratio)) / stride) * ceil(max(1, round(width * ratio)) / stride)
    flips = 2 if config.augmentation.horizontal_flip else 1
    return cells * channels * flips * _NUMBER_BYTES[backbone.cache_dtype]


def _map_shape(config: Config) -> tuple[int, int] | None:
    """Stride and channels of the frozen backbone's maps."""
    backbone, model = config.lat.backbone, config.upstream.model
    if backbone.name in DINOV2_MODELS:
        return DINOV2_PATCH, _DINOV2_CHANNELS[backbone.name.removeprefix("dinov2_vit")[0]] * backbone.blocks
    if backbone.name not in BACKBONES:
        from lat.core.convnets import channels_of

        return CONVNET_STRIDES[0], sum(channels_of("lat.backbone.name", backbone.name, CONVNET_STRIDES))
    if backbone.name == "random" or model.backbone in ("small", *ALIASES):
        return 4, 64
    if model.detector != "torchvision":
        return None
    if model.backbone in TORCHVISION_BACKBONES:
        return 4, 4 * 256  # four levels of a pyramid, side by side
    from lat.detectors.torchvision.rcnn_parts import recipe_of

    recipe = recipe_of(model.backbone)
    return recipe.strides[0], recipe.channels * len(recipe.pooled_levels)


def _check_model(where: str, settings: DetectorSettings) -> None:
    """Raise an `InputError` if the backbone does not suit a detector, or its weights are nowhere."""
    is_two_stage = settings.detector in ("torchvision", "auto") and not settings.detectron2_config
    if is_two_stage and settings.backbone not in TORCHVISION_BACKBONES:
        _check_convnet(where, "backbone", settings.backbone, settings.weights)
    _check_weights(f"{where}.weights", settings)


def _check_convnet(section: str, key: str, name: str, weights: str) -> None:
    """Raise an `InputError` if a network of timm has no maps, or ImageNet weights are nowhere; they are downloaded if need be.

    Asks torch and timm only for what the tables do not know.
    """
    if name not in ALIASES:
        from lat.core.convnets import STRIDES, channels_of

        channels_of(f"{section}.{key}", name, STRIDES)
    if weights == "pretrained" and packaged_file(name) is None:
        from lat.core.convnet_weights import find_pretrained

        find_pretrained(f"{section}.weights", name)


def _check_weights(where: str, settings: DetectorSettings) -> None:
    weights = settings.weights
    if weights in ("none", "pretrained") or "://" in weights or Path(weights).exists():
        return
    may_be_on_hub = settings.detector in TRANSFORMERS_DETECTORS and not weights.startswith((".", "/")) and weights.count("/") < 2
    if not may_be_on_hub:
        raise _no_file(where, weights)


def _no_file(where: str, path: str) -> InputError:
    return InputError(where, f"is {path}, and there is no such file{looked_for(path)}", "correct the path")


def _check_room(needed: int, room: int, kind: str, remedy: str) -> None:
    if needed > room:
        what = f"is '{kind}', but the features take {needed / 2**30:.1f} GiB and {room / 2**30:.1f} GiB are available"
        raise InputError("lat.backbone.cache", what, remedy)


def _free_disk(folder: Path) -> int:
    """Free bytes of the disk on which a folder is, or will be."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def _size_of(folder: Path) -> int:
    return sum(os.path.getsize(path) for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
