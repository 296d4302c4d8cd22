from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from detector_laws import assert_feature_maps_cover_the_image
from omegaconf import OmegaConf
from torch import nn
from torchvision import models
from torchvision.models import resnet18
from torchvision.ops import FrozenBatchNorm2d

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.detectors.base import build_detector, describe_detector, detector_from_checkpoint, settings_from_checkpoint
from lat.detectors.detector_settings import TORCHVISION_BACKBONES, DetectorSettings

SPACE = LabelSpace.from_names("shapes", ("disc", "bar"))


def test_the_backbones_are_those_that_torchvision_offers() -> None:
    offered = models.list_models(module=models, include=["resnet*", "resnext*", "wide_resnet*"])
    assert sorted(TORCHVISION_BACKBONES) == sorted(["small", *offered])


def test_a_checkpoint_of_before_settings_had_these_names_is_read() -> None:
    shared = {"detector": "detectron2", "weights": "none", "image_size": 64, "regions_per_image": 32}
    flat = ["MODEL.RPN.NMS_THRESH", "0.8"]
    values = {"detectron2_config": "a.yaml", "detectron2_overrides": flat, "score_threshold": 0.2, "backbone": "small"}
    found = settings_from_checkpoint({**shared, **values, "transformers_overrides": {}})
    overrides = {"MODEL.RPN.NMS_THRESH": "0.8"}
    assert found == DetectorSettings("detectron2", "a.yaml", overrides=overrides, image_size=64, detection_threshold=0.2)
    with pytest.raises(InputError, match="unknown detector settings colour; train the detector again"):
        settings_from_checkpoint({"colour": "red"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"detector": "yolov3"}, "detector: is 'yolov3'; choose one of torchvision"),
        ({"backbone": "resnet500"}, "did you mean resnet50?"),
        ({"weights": "pretrained"}, "weights: is 'pretrained', which the small backbone has not"),
        ({"image_size": -1}, "image_size: is -1; choose 0 or more"),
        ({"detection_threshold": 1.5}, "detection_threshold: is 1.5; choose a number from 0 to 1"),
        ({"trainable_layers": 6}, "trainable_layers: is 6; choose a number from 0 to 5"),
    ],
)
def test_a_wrong_setting_is_refused_with_a_remedy(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        DetectorSettings(**values)
    assert message in str(error.value)


def test_settings_are_an_omegaconf_structured_config() -> None:
    config = OmegaConf.merge(OmegaConf.structured(DetectorSettings), {"backbone": "resnet18", "nms_iou": 0.6})
    assert OmegaConf.to_object(config) == DetectorSettings(backbone="resnet18", nms_iou=0.6)


def test_random_weights_freeze_nothing() -> None:
    detector = build_detector(DetectorSettings(backbone="resnet18", trainable_layers=0), SPACE)
    assert all(parameter.requires_grad for parameter in detector.parameters())
    assert not any(isinstance(module, FrozenBatchNorm2d) for module in detector.modules())


def test_a_classification_resnet_file_fills_the_backbone_and_freezes_its_first_layers(tmp_path: Path) -> None:
    source = resnet18(weights=None)
    torch.save(source.state_dict(), tmp_path / "resnet18.pt")
    detector = build_detector(DetectorSettings(backbone="resnet18", weights=str(tmp_path / "resnet18.pt")), SPACE)
    body = detector.backbone.body
    torch.testing.assert_close(body.layer3[0].conv1.weight, source.layer3[0].conv1.weight)
    assert isinstance(body.bn1, FrozenBatchNorm2d)
    trained = {name for name, part in body.named_children() if any(p.requires_grad for p in part.parameters())}
    assert trained == {"layer2", "layer3", "layer4"}


@pytest.mark.parametrize(("class_names", "same_predictor"), [(("disc", "bar"), True), (("car", "bus"), False)])
def test_a_detector_file_gives_its_last_layer_only_to_the_same_classes(
    tmp_path: Path, class_names: tuple[str, str], same_predictor: bool
) -> None:
    source = build_detector(DetectorSettings(), SPACE)
    torch.save(describe_detector(DetectorSettings(), SPACE) | {"model": source.state_dict()}, tmp_path / "model.pt")
    space = LabelSpace.from_names("other", class_names)
    detector = build_detector(DetectorSettings(weights=str(tmp_path / "model.pt")), space)
    torch.testing.assert_close(detector.roi_heads.box_head.fc6.weight, source.roi_heads.box_head.fc6.weight)
    weights = (model.roi_heads.box_predictor.cls_score.weight for model in (detector, source))
    assert torch.equal(*weights) is same_predictor


def test_every_misfit_of_a_weights_file_is_named_at_once(tmp_path: Path) -> None:
    state = build_detector(DetectorSettings(), SPACE).backbone.state_dict()
    state["extra.weight"] = torch.zeros(1)
    del state["stem.0.weight"]
    state["stem.1.bias"] = torch.zeros(5)
    torch.save({"state_dict": state}, tmp_path / "weights.pt")
    with pytest.raises(InputError) as error:
        build_detector(DetectorSettings(weights=str(tmp_path / "weights.pt")), SPACE)
    message = str(error.value)
    assert message.startswith(str(tmp_path / "weights.pt"))
    assert "1 missing (stem.0.weight), 1 unexpected (extra.weight), 1 of another shape (stem.1.bias)" in message


def test_unreadable_weights_files_are_input_errors(tmp_path: Path) -> None:
    (tmp_path / "broken.pt").write_bytes(b"no weights")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    names = {"missing.pt": "not found", "broken.pt": "cannot be read", "list.pt": "contains a list", "empty.pt": "no weights"}
    for name, message in names.items():
        with pytest.raises(InputError, match=message):
            build_detector(DetectorSettings(weights=str(tmp_path / name)), SPACE)


def test_a_checkpoint_needs_none_of_the_files_that_its_settings_name() -> None:
    settings = DetectorSettings(weights="gone.pt")
    source = build_detector(DetectorSettings(), SPACE)
    detector = detector_from_checkpoint(describe_detector(settings, SPACE) | {"model": source.state_dict()})
    assert detector.settings == settings
    assert not detector.training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "label_transfer"}, "contains 'label_transfer', not a detector"),
        ({"settings": {"colour": 1}}, "unknown detector settings colour"),
        ({"model": {}}, "do not fit"),
    ],
)
def test_a_checkpoint_that_is_no_such_detector_is_refused(change: dict[str, Any], message: str) -> None:
    content = describe_detector(DetectorSettings(), SPACE) | {"model": nn.Linear(1, 1).state_dict()} | change
    with pytest.raises(InputError, match=message):
        detector_from_checkpoint(content)


@pytest.mark.parametrize(("backbone", "channels"), [("small", 64), ("efficientnet_lite0", 64), ("resnet18", 4 * 256)])
def test_feature_maps_cover_the_image_at_the_exact_stride(backbone: str, channels: int) -> None:
    assert_feature_maps_cover_the_image(DetectorSettings(backbone=backbone), SPACE, channels)


def test_weights_that_cannot_be_downloaded_are_an_input_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", _no_network)
    with pytest.raises(InputError, match="could not be downloaded"):
        build_detector(DetectorSettings(backbone="resnet18", weights="pretrained"), SPACE)


def _no_network(*_: object, **__: object) -> None:
    raise URLError("no route to host")
