"""Weights of a Detectron2 detector: which files fill it, how far, and what is said about the others."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2_files import NEEDS_DETECTRON2, SPACE, THIN_FPN, from_yaml, write_yaml

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.detectors.base import build_detector, describe_detector
from lat.detectors.detector_settings import DetectorSettings

pytestmark = list(NEEDS_DETECTRON2)

RESNET = DetectorSettings(detector="detectron2", backbone="resnet18", overrides=THIN_FPN)


@pytest.fixture
def yaml_file(tmp_path: Path) -> str:
    return write_yaml(tmp_path)


def test_a_backbone_file_fills_the_body_and_freezes_its_first_stages(tmp_path: Path) -> None:
    from detectron2.layers import FrozenBatchNorm2d

    source = build_detector(RESNET, SPACE)
    body = {name: value for name, value in source.state_dict().items() if name.startswith("backbone.bottom_up.")}
    torch.save({"model": body}, tmp_path / "body.pth")
    overrides = {"overrides": THIN_FPN}
    settings = DetectorSettings(detector="detectron2", backbone="resnet18", weights=str(tmp_path / "body.pth"), **overrides)
    detector = build_detector(settings, SPACE)
    body = detector.backbone.bottom_up
    torch.testing.assert_close(body.res4[0].conv1.weight, source.backbone.bottom_up.res4[0].conv1.weight)
    assert isinstance(body.stem.conv1.norm, FrozenBatchNorm2d)
    trained = {name for name, part in body.named_children() if any(p.requires_grad for p in part.parameters())}
    assert trained == {"res3", "res4", "res5"}


def zoo_file(path: Path, yaml_file: str, extra: dict[str, object] | None = None) -> dict[str, np.ndarray]:
    """Write a body as the model zoo does: arrays in a pickle, names without their prefix, to be matched."""
    state = from_yaml(yaml_file).backbone.state_dict()
    arrays = {name: value.numpy() for name, value in state.items() if not name.endswith("num_batches_tracked")}
    content = {"model": arrays | (extra or {}), "__author__": "torchvision", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(content))
    return arrays


def test_a_file_of_the_model_zoo_is_matched_by_name(tmp_path: Path, yaml_file: str) -> None:
    arrays = zoo_file(tmp_path / "R-50.pkl", yaml_file, {"fc1000.weight": np.zeros((10, 4), dtype=np.float32)})
    detector = from_yaml(yaml_file, "MODEL.WEIGHTS", str(tmp_path / "R-50.pkl"), weights="pretrained")
    found = detector.state_dict()["backbone.res3.0.conv1.weight"]
    torch.testing.assert_close(found, torch.from_numpy(arrays["res3.0.conv1.weight"]))


def test_a_pickle_that_names_code_is_refused_and_not_run(tmp_path: Path, yaml_file: str) -> None:
    zoo_file(tmp_path / "R-50.pkl", yaml_file, {"x": Touch(str(tmp_path / "touched"))})
    with pytest.raises(InputError, match=r"R-50\.pkl: cannot be read as weights \(UnpicklingError\)"):
        from_yaml(yaml_file, weights=str(tmp_path / "R-50.pkl"))
    assert not (tmp_path / "touched").exists()


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.path, "w")


@pytest.mark.parametrize(("class_names", "same_predictor"), [(("disc", "bar"), True), (("car", "bus"), False)])
def test_a_detector_file_gives_its_last_layer_only_to_the_same_classes(
    tmp_path: Path, class_names: tuple[str, str], same_predictor: bool
) -> None:
    settings = DetectorSettings(detector="detectron2")
    source = build_detector(settings, SPACE)
    torch.save(describe_detector(settings, SPACE) | {"model": source.state_dict()}, tmp_path / "model.pt")
    reading = DetectorSettings(detector="detectron2", weights=str(tmp_path / "model.pt"))
    detector = build_detector(reading, LabelSpace.from_names("other", class_names))
    torch.testing.assert_close(detector.roi_heads.box_head.fc1.weight, source.roi_heads.box_head.fc1.weight)
    weights = (model.roi_heads.box_predictor.cls_score.weight for model in (detector, source))
    assert torch.equal(*weights) is same_predictor


def test_weights_that_do_not_fit_are_told_in_one_line(tmp_path: Path) -> None:
    small = DetectorSettings()
    state = build_detector(small, SPACE).state_dict()
    torch.save(describe_detector(small, SPACE) | {"model": state}, tmp_path / "torchvision.pt")
    torch.save({"backbone.network.stem.0.weight": torch.zeros(1), "extra": torch.zeros(1)}, tmp_path / "misfit.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    messages = {
        "torchvision.pt": "is a checkpoint of a torchvision detector",
        "misfit.pth": r"1 unexpected \(extra\), 1 of another shape \(backbone\.network\.stem\.0\.weight\)",
        "empty.pth": "contains no weights",
        "broken.pth": "cannot be read as weights",
        "gone.pth": "weights file not found",
    }
    for name, message in messages.items():
        with pytest.raises(InputError, match=message) as error:
            build_detector(DetectorSettings(detector="detectron2", weights=str(tmp_path / name)), SPACE)
        assert "\n" not in str(error.value)


def test_weights_that_cannot_be_downloaded_are_an_input_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.OpenerDirector.open", _no_network)
    for name in ("detectron2://ImageNetPretrained/MSRA/R-50.pkl", "https://localhost/R-50.pkl"):
        with pytest.raises(InputError, match=r"the weights could not be downloaded .*; give the path of a local file"):
            build_detector(DetectorSettings(detector="detectron2", weights=name), SPACE)


def _no_network(*_: object, **__: object) -> None:
    raise OSError("no route to host")


def test_a_backbone_without_pretrained_weights_is_refused() -> None:
    with pytest.raises(InputError, match="has no pretrained resnet18 for its built-in model; choose resnet50"):
        build_detector(DetectorSettings(detector="detectron2", backbone="resnet18", weights="pretrained"), SPACE)
