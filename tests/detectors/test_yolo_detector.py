"""A trained YOLO behind `predict`; what needs ultralytics is skipped where it is not installed."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import label_space

from lat.core.errors import InputError
from lat.detectors.detector_settings import DetectorSettings, YoloSettings
from lat.detectors.ultralytics.yolo_detector import YoloDetector, border, decode, find_weights, load_ultralytics

SPACE = label_space()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "yolo11n"}, "model: is 'yolo11n'; name a .yaml such as yolo11n.yaml, or a .pt"),
        ({"image_size": 100}, "image_size: is 100; choose a multiple of 32"),
        ({"image_size": 0}, "image_size: is 0; choose a multiple of 32"),
    ],
)
def test_settings_out_of_range_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        YoloSettings(**values)
    assert str(caught.value).startswith(message)


def test_without_ultralytics_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)  # what the import system keeps for a module that is not to be found
    with pytest.raises(
        InputError, match=r"^detector: yolo: needs the ultralytics package \(AGPL.*; pip install 'lat-detection\[y"
    ):
        load_ultralytics()
    (tmp_path / "yolo.pt").touch()
    with pytest.raises(InputError, match="needs the ultralytics package"):
        YoloDetector(tmp_path / "yolo.pt", SPACE, YoloSettings())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pt: there is no such file"):
        YoloDetector(tmp_path / "none.pt", SPACE, YoloSettings())
    with pytest.raises(InputError, match=r"none\.pt: there is no such file of weights; check the path"):
        find_weights(str(tmp_path / "none.pt"))
    (tmp_path / "mine.pt").touch()
    assert find_weights(str(tmp_path / "mine.pt")) == str(tmp_path / "mine.pt")


def test_borders_fill_up_to_the_stride_on_both_sides() -> None:
    assert border((64, 96)) == (0, 0, 0, 0)
    assert border((38, 64)) == (0, 13, 0, 13)  # 38 + 26 = 64
    assert border((95, 33)) == (15, 0, 16, 1)  # 33 + 31 = 64, 95 + 1 = 96


def test_a_box_that_fills_the_picture_comes_back_without_the_border() -> None:
    # 38 rows stand at 13 to 51 of 64: the middle of the picture is (32, 32).
    output = torch.tensor([32.0, 32.0, 64.0, 38.0, 0.25, 0.75]).reshape(1, 6, 1)
    boxes, scores = decode(output, (38, 64))
    assert boxes.tolist() == [[[0, 0, 64, 38]]]
    assert scores.tolist() == [[[0.25, 0.75]]]


def save_untrained(path: Path, names: tuple[str, ...] = SPACE.class_names) -> Path:
    """A YOLO with random weights whose class scores are around a half, in the format of ultralytics."""
    pytest.importorskip("ultralytics", reason="ultralytics is an optional package that is not installed")
    load_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel("yolo11n.yaml", nc=len(names), verbose=False)
    model.names, model.args = dict(enumerate(names)), {}
    for branch in model.model[-1].cv3:
        torch.nn.init.normal_(branch[-1].weight, std=0.5)
        torch.nn.init.zeros_(branch[-1].bias)
    torch.save({"model": model.half(), "ema": None, "epoch": -1, "train_args": {"task": "detect"}}, path)
    return path


def test_detections_are_those_of_ultralytics_own_predictor(tmp_path: Path) -> None:
    path = save_untrained(tmp_path / "yolo.pt")
    from ultralytics import YOLO

    kept = DetectorSettings(detection_threshold=0.3, nms_iou=0.5, max_detections=20)
    image = torch.randint(0, 256, (3, 48, 64), generator=torch.Generator().manual_seed(1)).float() / 255
    (found,) = YoloDetector(path, SPACE, YoloSettings(image_size=64), kept).predict([image])
    pixels = (image * 255).round().byte().permute(1, 2, 0).flip(-1).numpy()
    (wanted,) = YOLO(str(path)).predict(pixels, imgsz=64, conf=0.3, iou=0.5, max_det=1000, verbose=False, save=False)
    best = found.class_scores.argmax(dim=1) == found.labels  # ultralytics keeps the best class of a place, we keep all
    assert best.any()
    scores = wanted.boxes.conf
    for box, label, score in zip(found.boxes_xyxy[best], found.labels[best], found.scores[best], strict=True):
        distances = (wanted.boxes.xyxy - box).abs().amax(dim=1) + (scores - score).abs() + (wanted.boxes.cls != label)
        assert distances.min() < 0.01


def test_images_of_any_size_give_boxes_inside_them_whatever_the_batch(tmp_path: Path) -> None:
    kept = DetectorSettings(detection_threshold=0.3, nms_iou=0.7, max_detections=7)
    detector = YoloDetector(save_untrained(tmp_path / "yolo.pt"), SPACE, YoloSettings(image_size=64), kept).train()
    images = [torch.rand(3, *size_hw) for size_hw in ((40, 100), (100, 40), (40, 100))]
    batch = detector.predict(images)
    assert detector.training
    for image, boxes in zip(images, batch, strict=True):
        (alone,) = detector.predict([image])
        assert torch.allclose(alone.boxes_xyxy, boxes.boxes_xyxy, atol=1e-3)
        assert 0 < len(boxes) <= 7
        assert boxes.class_scores.shape == (len(boxes), 2)
        assert (boxes.scores.diff() <= 0).all()
        assert (boxes.boxes_xyxy[:, 2:] <= torch.tensor([image.shape[2], image.shape[1]]) + 1e-3).all()
    assert detector.predict([]) == []


def test_other_classes_and_other_files_are_refused(tmp_path: Path) -> None:
    path = save_untrained(tmp_path / "yolo.pt")
    with pytest.raises(InputError, match=r"yolo\.pt: has the classes car, truck, but way has vehicle; train the detector"):
        YoloDetector(path, label_space("way", ["vehicle"]), YoloSettings())
    for content in (b"no checkpoint", b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"yolo\.pt: cannot be read as a YOLO of ultralytics"):
            YoloDetector(path, SPACE, replace(YoloSettings(), image_size=64))
