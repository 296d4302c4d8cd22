"""The frozen backbone of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories import coco_dict, label_space, write_coco

from lat.config.load import config_from
from lat.detectors.base import build_detector, describe_detector
from lat.detectors.detector_settings import DetectorSettings
from lat.engine.checkpoint import save_checkpoint
from lat.stages.shared.transfer_model import open_features
from lat.workspace.workspace import Workspace


@pytest.mark.parametrize(("lat_image_size", "seen_hw"), [(0, (33, 66)), (40, (40, 80))])
def test_an_upstream_detector_lends_features_of_the_size_that_it_sees_itself(
    lat_image_size: int, seen_hw: tuple[int, int], tmp_path: Path
) -> None:
    images = coco_dict([[(4, 4, 20, 20)]], size_hw=(64, 128))  # 40 x 80 by the shorter side, but the longer one ends at 66
    datasets = [write_coco(tmp_path / name, images, name=name) for name in ("city", "way")]
    entries = [{"name": one.name, "images": one.images, "annotations": one.annotations} for one in datasets]
    sizes = {"image_size": 40, "max_image_size": 66}
    values = {
        "output_dir": str(tmp_path / "run"),
        "datasets": entries,
        "upstream": {"model": sizes},
        "lat": {"backbone": {"image_size": lat_image_size}},
    }
    workspace = Workspace(config_from(values))
    settings, space = DetectorSettings(**sizes), label_space("city")
    detector = build_detector(settings, space).eval()
    assert workspace.paths.backbone_model is not None
    save_checkpoint(workspace.paths.backbone_model, describe_detector(settings, space) | {"model": detector.state_dict()})
    features = open_features(workspace)
    assert features.backbone.resized_hw((64, 128)) == seen_hw


@pytest.mark.parametrize("accelerator", ["cpu", "compiled"])
def test_the_frozen_backbone_is_compiled_where_it_is_asked_for(tmp_path: Path, accelerator: str) -> None:
    datasets = [write_coco(tmp_path / name, coco_dict(), name=name) for name in ("city", "way")]
    values = {
        "output_dir": str(tmp_path / "run"),
        "datasets": [{"name": one.name, "images": one.images, "annotations": one.annotations} for one in datasets],
        "lat": {"backbone": {"name": "random"}},
        "runtime": {"accelerator": accelerator},
    }
    features = open_features(Workspace(config_from(values)))
    assert hasattr(features.backbone._maps_of, "_torchdynamo_orig_callable") == (accelerator == "compiled")
