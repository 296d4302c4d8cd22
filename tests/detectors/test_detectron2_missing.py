"""What happens where Detectron2 does not import."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.detectors.base import build_detector, describe_detector, detector_from_checkpoint, detectron2_problem
from lat.detectors.detector_settings import DetectorSettings

SPACE = LabelSpace.from_names("shapes", ("disc", "bar"))


@pytest.fixture(autouse=True)
def _without_detectron2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "detectron2.modeling", None)  # as Python itself marks what must not be imported
    monkeypatch.setitem(sys.modules, "detectron2", None)


def test_the_problem_is_told_in_one_line() -> None:
    problem = detectron2_problem()
    assert problem is not None
    assert "detectron2" in problem
    assert "\n" not in problem


def test_auto_takes_torchvision_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    detector = build_detector(DetectorSettings(detector="auto"), SPACE)
    assert detector.settings == DetectorSettings(detector="torchvision")
    assert capsys.readouterr().out.startswith("detector: auto takes torchvision (Detectron2 does not import: ")


def test_auto_leaves_out_overrides_that_are_for_detectron2_alone(capsys: pytest.CaptureFixture[str]) -> None:
    detector = build_detector(DetectorSettings(detector="auto", overrides={"MODEL.RPN.NMS_THRESH": 0.8}), SPACE)
    assert detector.settings == DetectorSettings(detector="torchvision")


@pytest.mark.parametrize(
    ("values", "where"),
    [({"detector": "detectron2"}, "detector"), ({"detector": "auto", "backbone": "x.yaml"}, "backbone")],
)
def test_settings_that_need_it_are_refused_in_one_line(values: dict[str, Any], where: str) -> None:
    for action in (build_detector, describe_detector):
        with pytest.raises(
            InputError, match=rf"^{where}: needs Detectron2, which does not import .*docs/detectron2\.md"
        ) as error:
            action(DetectorSettings(**values), SPACE)
        assert "\n" not in str(error.value)


def test_a_checkpoint_of_it_is_refused_in_one_line() -> None:
    content = describe_detector(DetectorSettings(), SPACE)
    content["settings"]["detector"] = "detectron2"
    with pytest.raises(InputError, match=r"^checkpoint: contains a detector of Detectron2, which does not import") as error:
        detector_from_checkpoint(content | {"model": {}})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "x.yaml"}, "backbone: is the configuration x.yaml, but the detector is torchvision"),
        ({"overrides": {"A": 1}}, "overrides: is set, but the detector is torchvision"),
        ({"detector": "detectron2", "backbone": "resnext50_32x4d"}, "which is not built for detectron2; choose one of small"),
    ],
)
def test_wrong_settings_are_refused_before_it_is_needed(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        DetectorSettings(**values)
    assert message in str(error.value)
