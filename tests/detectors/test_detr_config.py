"""Settings, configurations and weights of detectors of transformers."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from detr_parts import NAMES, NEEDS_TRANSFORMERS, SPACE, detr
from omegaconf import OmegaConf

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.detectors.base import build_detector, describe_detector, detector_from_checkpoint
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.image_batch import IMAGENET_MEAN, IMAGENET_STD

FRUIT = LabelSpace.from_names("fruit", ("apple", "pear", "plum"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "resnet51"}, "did you mean resnet50?"),
        ({"backbone": "resnext50_32x4d"}, "choose one of small, resnet18"),
        ({"weights": "pretrained"}, "weights: is 'pretrained', which rtdetr has not"),
        ({"weights": "a/b", "backbone": "resnet50"}, "backbone: is 'resnet50', but the weights bring their own"),
        ({"nms_iou": 0.6}, "nms_iou: is set, but the detector is rtdetr; leave it out, or choose detector: torchvision"),
        ({"trainable_layers": 2}, "trainable_layers: is set, but the detector is rtdetr"),
        ({"backbone": "a.yaml"}, "backbone: is the configuration a.yaml, but the detector is rtdetr"),
        ({"detector": "torchvision", "overrides": {"num_queries": 9}}, "is set, but the detector is torchvision"),
    ],
)
def test_settings_without_meaning_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        DetectorSettings(**{"detector": "rtdetr"} | values)
    assert message in str(error.value)


def test_overrides_come_through_a_structured_config() -> None:
    given = {"detector": "rtdetr", "overrides": {"num_queries": 9, "feat_strides": [8, 16, 32]}}
    config = OmegaConf.merge(OmegaConf.structured(DetectorSettings), given)
    assert OmegaConf.to_object(config) == DetectorSettings(**given)


def test_without_the_library_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)  # as Python itself marks what must not be imported
    for action in (build_detector, describe_detector):
        with pytest.raises(InputError, match=r"^detector: is rtdetr, which needs transformers.*install lat-detection\[detr\]"):
            action(DetectorSettings(detector="rtdetr"), SPACE)


@NEEDS_TRANSFORMERS
@pytest.mark.parametrize("name", NAMES)
def test_the_librarys_sizes_have_their_widths(name: str) -> None:
    from lat.detectors.transformers.detr_config import resolve_config

    for backbone, width in {"resnet18": 512, "resnet34": 512, "resnet50": 2048, "resnet101": 2048}.items():
        config = resolve_config(DetectorSettings(detector=name, backbone=backbone), SPACE.class_names)
        assert config.backbone_config.hidden_sizes[-1] == width
        assert config.backbone_config.out_features == ["stage2", "stage3", "stage4"]
        assert config.id2label == {0: "disc", 1: "bar"}
        assert config.num_queries == 300
        if name != "deformable_detr":
            assert list(config.encoder_in_channels) == [width // 4, width // 2, width]
            assert list(config.feat_strides) == [8, 16, 32]


@NEEDS_TRANSFORMERS
def test_overrides_reach_the_model_and_its_checkpoint() -> None:
    detector = detr("deformable_detr", overrides={"num_queries": 11, "auxiliary_loss": False})
    assert detector.network.model.query_position_embeddings.weight.shape[0] == 11
    assert not detector.network.config.auxiliary_loss
    content = describe_detector(detector.settings, SPACE) | {"model": detector.state_dict()}
    assert detector_from_checkpoint(content).network.config.num_queries == 11


@NEEDS_TRANSFORMERS
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"num_querys": 9}, "has 'num_querys', which RTDetrConfig does not have; did you mean num_queries?"),
        ({"num_labels": 9}, "has 'num_labels'"),
        ({"num_queries": "many"}, "no rtdetr can be made with {num_queries: many}"),
        ({"decoder_attention_heads": 7}, "no rtdetr can be made with {decoder_attention_heads: 7}"),
    ],
)
def test_wrong_overrides_are_refused_in_one_line(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        detr("rtdetr", overrides=overrides)
    assert str(error.value).startswith("overrides: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@NEEDS_TRANSFORMERS
@pytest.mark.parametrize("name", ["rtdetr", "deformable_detr"])
def test_a_folder_gives_all_but_the_layers_of_other_classes(name: str, tmp_path: Path) -> None:
    source = detr(name)
    source.network.save_pretrained(tmp_path / "saved")
    # of the same classes everything, of as many others nothing that belongs to classes, of more not even their number
    renamed = LabelSpace.from_names("renamed", ("car", "bus"))
    for space, same in ((SPACE, True), (renamed, False), (FRUIT, False)):
        detector = build_detector(DetectorSettings(detector=name, weights=str(tmp_path / "saved")), space)
        assert detector.network.config.num_labels == len(space)
        own, given = detector.network.state_dict(), source.network.state_dict()
        of_classes = [key for key in own if "class_embed." in key or "enc_score_head." in key]
        assert all(torch.equal(own[key], given[key]) for key in own.keys() - of_classes if "num_batches" not in key)
        assert all(own[key].shape == given[key].shape and torch.equal(own[key], given[key]) for key in of_classes) is same
    content = describe_detector(detector.settings, FRUIT) | {"model": detector.state_dict()}
    (tmp_path / "saved").rename(tmp_path / "gone")
    restored = detector_from_checkpoint(content)
    image = torch.rand(3, 48, 64)
    torch.testing.assert_close(restored.predict([image])[0].scores, detector.predict([image])[0].scores)


@NEEDS_TRANSFORMERS
def test_what_is_wrong_with_a_folder_is_told(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    detr("rtdetr").network.save_pretrained(saved)
    (tmp_path / "file.pt").write_bytes(b"")

    def error_of(folder: Path, **values: Any) -> str:
        with pytest.raises(InputError) as error:
            build_detector(DetectorSettings(**{"detector": "rtdetr", "weights": str(folder)} | values), SPACE)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "contains rt_detr, but the detector is deformable_detr; choose detector: rtdetr" in error_of(
        saved, detector="deformable_detr"
    )
    assert "file.pt is a file; name the folder" in error_of(tmp_path / "file.pt")
    assert "do not fit: " in error_of(saved, overrides={"decoder_ffn_dim": 96})
    (saved / "model.safetensors").write_bytes(b"no weights")
    assert f"{saved} cannot be read" in error_of(saved)
    (saved / "model.safetensors").unlink()
    assert f"{saved} cannot be read" in error_of(saved)
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    assert "contains bert, but the detector is rtdetr; name the weights of a rt_detr" in error_of(saved)


@NEEDS_TRANSFORMERS
def test_a_hub_name_that_cannot_be_fetched_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"^weights: someone/something is not a local folder and could not be fetched") as error:
        build_detector(DetectorSettings(detector="rtdetr", weights="someone/something"), SPACE)
    assert "\n" not in str(error.value)


def white_and_black(detector: Any) -> list[list[float]]:
    """What the network gets of a white and of a black pixel."""
    return [detector._batch([torch.full((3, 64, 96), value)]).pixels[0, :, 0, 0].tolist() for value in (1.0, 0.0)]


@NEEDS_TRANSFORMERS
def test_pixels_are_what_the_weights_of_each_model_were_trained_on() -> None:
    for name in ("rtdetr", "rtdetr_v2"):
        assert white_and_black(detr(name)) == [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    normalised = [[(value - mean) / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)] for value in (1, 0)]
    for found, wanted in zip(white_and_black(detr("deformable_detr")), normalised, strict=True):
        assert found == pytest.approx(wanted)


@NEEDS_TRANSFORMERS
def test_pixels_follow_the_processor_beside_the_weights_and_then_the_checkpoint(tmp_path: Path) -> None:
    folder, processor = tmp_path / "saved", tmp_path / "saved" / "preprocessor_config.json"
    detr("rtdetr").network.save_pretrained(folder)
    values = {"do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 1.0]}
    processor.write_text(json.dumps(values))
    settings = DetectorSettings(detector="rtdetr", weights=str(folder))
    detector = build_detector(settings, SPACE)
    assert white_and_black(detector) == [[2.0, 1.0, 0.5], [-2.0, -1.0, -0.5]]
    content = describe_detector(settings, SPACE) | {"model": detector.state_dict()}
    processor.write_text(json.dumps(values | {"do_normalize": False}))
    assert white_and_black(build_detector(settings, SPACE)) == [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    assert white_and_black(detector_from_checkpoint(content)) == white_and_black(detector)
    detector.network.save_pretrained(tmp_path / "again")
    assert white_and_black(build_detector(replace(settings, weights=str(tmp_path / "again")), SPACE)) == white_and_black(detector)


@NEEDS_TRANSFORMERS
def test_a_checkpoint_that_does_not_say_what_its_pixels_were_had_them_normalised() -> None:
    detector = detr("rtdetr")
    content = describe_detector(detector.settings, SPACE) | {"model": detector.state_dict()}
    config = json.loads(content["transformers"])
    del config["image_mean"], config["image_std"]
    restored = detector_from_checkpoint(content | {"transformers": json.dumps(config)})
    assert white_and_black(restored)[0][0] == pytest.approx((1 - IMAGENET_MEAN[0]) / IMAGENET_STD[0])


@NEEDS_TRANSFORMERS
@pytest.mark.parametrize("content", ["{", '{"image_mean": [0.5]}', '{"image_std": [0, 1, 1]}', "[]"])
def test_a_processor_that_makes_no_sense_is_told(content: str, tmp_path: Path) -> None:
    detr("deformable_detr").network.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(InputError, match=r"preprocessor_config\.json") as error:
        build_detector(DetectorSettings(detector="deformable_detr", weights=str(tmp_path)), SPACE)
    assert "\n" not in str(error.value)
