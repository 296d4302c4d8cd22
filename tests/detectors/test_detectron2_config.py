"""Detectron2's YAML files: what they and our settings decide, and what is said about wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from detectron2_files import NEEDS_DETECTRON2, SPACE, from_yaml, write_yaml

from lat.core.errors import InputError
from lat.detectors.base import build_detector, describe_detector, detector_from_checkpoint
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.image_batch import IMAGENET_MEAN

pytestmark = list(NEEDS_DETECTRON2)

IMAGE = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def yaml_file(tmp_path: Path) -> str:
    return write_yaml(tmp_path)


def test_a_file_inherits_from_its_base_and_the_overrides_win(yaml_file: str) -> None:
    config = from_yaml(yaml_file, "MODEL.RPN.POST_NMS_TOPK_TEST", "7", "MODEL.ROI_HEADS.NUM_CLASSES", "9").config
    assert config.MODEL.RESNETS.STEM_OUT_CHANNELS == 8  # from the base
    assert config.MODEL.RPN.NMS_THRESH == 0.6
    assert config.MODEL.RPN.POST_NMS_TOPK_TEST == 7
    assert config.MODEL.ROI_HEADS.NUM_CLASSES == 2  # the label space has the last word
    assert not config.MODEL.MASK_ON


def test_random_weights_freeze_nothing_and_see_normalised_pixels(yaml_file: str) -> None:
    from detectron2.layers import FrozenBatchNorm2d

    detector = from_yaml(yaml_file, trainable_layers=0)
    assert all(parameter.requires_grad for parameter in detector.parameters())
    assert not any(isinstance(module, FrozenBatchNorm2d) for module in detector.modules())
    # Detectron2's file means BGR with ImageNet's mean and a deviation of 1
    assert detector.pixel_mean.flatten().tolist() == pytest.approx([255 * value for value in IMAGENET_MEAN[::-1]])
    assert detector.pixel_std.min() > 50


def test_a_bgr_model_sees_the_channels_in_its_own_order(yaml_file: str) -> None:
    bgr, rgb = from_yaml(yaml_file).eval(), from_yaml(yaml_file, "INPUT.FORMAT", "RGB").eval()
    rgb.pixel_mean, rgb.pixel_std = bgr.pixel_mean.flip(0), bgr.pixel_std.flip(0)
    state = bgr.state_dict()
    stem = "backbone.stem.conv1.weight"
    rgb.load_state_dict(state | {stem: state[stem].flip(1)})
    assert not torch.allclose(rgb.feature_maps(IMAGE.flip(0)[None]), bgr.feature_maps(IMAGE[None]), rtol=1e-3)
    torch.testing.assert_close(rgb.feature_maps(IMAGE[None]), bgr.feature_maps(IMAGE[None]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("MODEL: !!python/object/apply:os.getcwd []", [], "child.yaml: cannot be read (child.yaml line 1: could not determine"),
        ("MODEL: [", [], "child.yaml: cannot be read (child.yaml line 2: "),
        ("- 1", [], "child.yaml: does not have the structure of a Detectron2 configuration"),
        ("MODEL: {COLOUR: red}", [], "child.yaml: Non-existent config key: MODEL.COLOUR"),
        ("MODEL: {BACKBONE: {NAME: build_no_such}}", [], "child.yaml: No object named 'build_no_such' found in 'BACKBONE'"),
        ("_BASE_: nowhere.yaml", [], "child.yaml: its _BASE_ cannot be read (No such file"),
        ("_BASE_: child.yaml", [], "child.yaml: its _BASE_ leads back to itself"),
        ("MODEL: {ROI_HEADS: {IN_FEATURES: [p9]}}", [], "child.yaml: there is no 'p9'"),
        ("MODEL: {META_ARCHITECTURE: RetinaNet}", [], "child.yaml: MODEL.META_ARCHITECTURE is 'RetinaNet'"),
        ("MODEL: {ROI_HEADS: {NAME: CascadeROIHeads}}", [], "choose StandardROIHeads or Res5ROIHeads"),
        ("VERSION: 2", ["MODEL.COLOUR", "red"], "overrides: Non-existent key: MODEL.COLOUR"),
        ("VERSION: 2", ["MODEL.RPN.NMS_THRESH", "high"], "overrides: Type mismatch"),
    ],
)
def test_a_wrong_configuration_is_told_in_one_line(tmp_path: Path, text: str, overrides: list[str], message: str) -> None:
    (tmp_path / "child.yaml").write_text(text + "\n")
    with pytest.raises(InputError) as error:
        from_yaml(str(tmp_path / "child.yaml"), *overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.yaml: there is no such Detectron2 configuration"):
        from_yaml(str(tmp_path / "gone.yaml"))


def test_a_checkpoint_needs_no_file_and_says_which_library_it_is_of(
    yaml_file: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    settings = DetectorSettings(detector="auto", backbone=yaml_file)
    detector = build_detector(settings, SPACE)
    assert capsys.readouterr().out == "detector: auto takes detectron2\n"
    torch.save(describe_detector(settings, SPACE) | {"model": detector.state_dict()}, tmp_path / "model.pt")
    Path(yaml_file).unlink()
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    restored = detector_from_checkpoint(content)
    assert content["settings"]["detector"] == restored.settings.detector == "detectron2"
    torch.testing.assert_close(restored.predict([IMAGE])[0].class_scores, detector.predict([IMAGE])[0].class_scores)
    with pytest.raises(InputError, match="checkpoint: Non-existent config key: COLOUR"):
        detector_from_checkpoint(content | {"detectron2": "COLOUR: red"})
    with pytest.raises(InputError, match="checkpoint: its weights do not fit"):
        detector_from_checkpoint(content | {"settings": content["settings"] | {"detector": "torchvision", "backbone": "small"}})
