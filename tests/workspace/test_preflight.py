"""What a run refuses before its first step, and `lat check` tells."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from factories import coco_dict, write_coco

from lat.commands.check import check_all
from lat.config.load import Config, config_from
from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.detectors.base import build_detector
from lat.models.backbones.frozen import build_backbone
from lat.models.feature_cache import FeatureCache
from lat.pipeline.run import run_stages
from lat.stages.shared.transfer_model import open_features
from lat.workspace import preflight
from lat.workspace.preflight import check_downstream, check_lat, check_upstream, feature_bytes
from lat.workspace.workspace import Workspace

SIZES = [(32, 48), (45, 61), (32, 48)]


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Config]:
    datasets = [write_coco(tmp_path / name, coco_dict(), name=name) for name in ("city", "way")]
    entries = [{"name": one.name, "images": one.images, "annotations": one.annotations} for one in datasets]
    return lambda *overrides: config_from({"output_dir": str(tmp_path / "run"), "datasets": entries}, overrides)


def test_a_batch_that_cannot_be_shared_out_names_the_key_of_its_section(configure: Callable[..., Config]) -> None:
    sixes = [f"{section}.training.batch_size=6" for section in ("upstream", "lat", "downstream")]
    config = configure(*sixes, "runtime.upstream_parallel=batch")
    for section, check in (("upstream", check_upstream), ("downstream", check_downstream)):
        check(config, 3)
        with pytest.raises(InputError, match=rf"^{section}\.training\.batch_size: is 6 for 4 processes; make it a multiple of 4"):
            check(config, 4)
    with pytest.raises(InputError, match=r"^lat\.training\.batch_size: is 6 for 4 processes"):
        check_lat(config, SIZES, 4, 4)
    check_upstream(configure(*sixes), 4)  # a process trains the detector of a dataset alone


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("upstream.model.weights=no/such.pt", "upstream.model.weights"),
        ("downstream.model.weights=no/such.pt", "downstream.model.weights"),
    ],
)
def test_missing_weights_are_told_before_anything_is_trained(
    override: str, key: str, configure: Callable[..., Config], capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure(override)
    with pytest.raises(InputError, match=rf"^{key}: is no/such\.pt, and there is no such file"):
        run_stages(Workspace(config), say=lambda line: None)
    assert not list(Path(config.output_dir).rglob("*.pt"))
    assert not check_all(config)
    assert f"problem: {key}: is no/such.pt, and there is no such file" in capsys.readouterr().out
    assert check_all(configure())


def test_a_tracker_that_is_not_installed_is_told_once_before_anything_is_trained(
    configure: Callable[..., Config], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    config = configure("training.trackers=[tensorboard,wandb]")
    told = "training.trackers: names wandb, which is not installed; pip install 'lat-detection[wandb]', or leave it out"
    with pytest.raises(InputError) as caught:
        run_stages(Workspace(config), say=lambda line: None)
    assert str(caught.value) == told
    assert not list(Path(config.output_dir).rglob("*.pt"))
    assert not check_all(config)
    assert capsys.readouterr().out.count(told) == 1


@pytest.mark.parametrize(("section", "key"), [("upstream.model", "backbone"), ("lat.backbone", "name")])
def test_pretrained_weights_that_are_nowhere_are_told_before_anything_is_trained(
    section: str, key: str, configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    config = configure(f"{section}.{key}=mobilenetv3_small_050", f"{section}.weights=pretrained")
    with pytest.raises(
        InputError, match=rf"^{section}\.weights: is 'pretrained', but the weights of mobilenetv3_small_050 are not"
    ):
        run_stages(Workspace(config), say=lambda line: None)
    assert not list(Path(config.output_dir).rglob("*.pt"))
    config = configure(f"{section}.{key}=vit_small_patch16_224", f"{section}.weights=none")
    with pytest.raises(InputError, match=rf"^{section}\.{key}: is 'vit_small_patch16_224', which has no feature maps"):
        run_stages(Workspace(config), say=lambda line: None)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "regnety_002"])
def test_the_size_of_a_convolutional_networks_features_is_known(name: str, configure: Callable[..., Config]) -> None:
    config = configure(f"lat.backbone.name={name}", "lat.backbone.weights=none")
    maps = [build_backbone(config.lat.backbone).feature_maps(torch.zeros(1, 3, *size)) for size in SIZES]
    flips = 2 if config.augmentation.horizontal_flip else 1
    assert feature_bytes(config, SIZES) == sum(one.numel() for one in maps) * flips * 2
    upstream = configure(f"upstream.model.backbone={name}")
    detector = build_detector(upstream.upstream.model, LabelSpace.from_names("a", ("b",)))
    maps = [detector.feature_maps(torch.zeros(1, 3, *size)) for size in SIZES]
    assert feature_bytes(upstream, SIZES) == sum(one.numel() for one in maps) * flips * 2


def test_features_that_fit_neither_memory_nor_disk_are_told_before_anything_is_trained(
    configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "available_memory", lambda: 2**10)
    monkeypatch.setattr(preflight, "_free_disk", lambda folder: 2**10)
    for cache, remedy in (("memory", "set lat.backbone.cache=disk"), ("disk", "free some of the disk")):
        config = configure(f"lat.backbone.cache={cache}")
        with pytest.raises(InputError, match=rf"^lat\.backbone\.cache: is '{cache}', but the features take .*; {remedy}"):
            run_stages(Workspace(config), say=lambda line: None)
        assert not list(Path(config.output_dir).rglob("*.pt"))
        assert not check_all(config)
    check_lat(configure("lat.backbone.cache=none"), SIZES, 1, 1)


@pytest.mark.parametrize("image_size", [0, 28])
def test_the_size_of_features_is_that_of_the_cache(image_size: int, configure: Callable[..., Config]) -> None:
    config = configure("lat.backbone.name=random", f"lat.backbone.image_size={image_size}", "lat.backbone.cache_dtype=float32")
    features = open_features(Workspace(config))
    assert isinstance(features, FeatureCache)
    sizes_hw = [(32, 48)] * 4
    assert feature_bytes(config, sizes_hw) == features.estimate_bytes()
    assert build_backbone(config.lat.backbone).channels == 64
    wide = configure("upstream.model.image_size=40", "upstream.model.max_image_size=66")
    # 64 x 128 becomes 33 x 66, in cells of 4 pixels 9 x 17; 64 channels of two bytes, flipped too
    assert feature_bytes(wide, [(64, 128)]) == 9 * 17 * 64 * 2 * 2
