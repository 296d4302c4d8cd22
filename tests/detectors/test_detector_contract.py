"""What every detector must do, whatever library it comes from."""

from __future__ import annotations

import re
from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from detectron2_files import NEEDS_DETECTRON2
from detr_parts import NAMES, NEEDS_TRANSFORMERS
from torch import Tensor, nn

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors.base import Detector, build_detector, describe_detector, detector_from_checkpoint
from lat.detectors.detections import scaled
from lat.detectors.detector_settings import DetectorSettings

SPACE = LabelSpace("shapes", ("disc", "bar"), (7, 3))
BACKENDS = {
    "small": DetectorSettings(),
    "small, resized": DetectorSettings(image_size=48, max_image_size=64),
    "resnet18": DetectorSettings(backbone="resnet18"),
    "efficientnet_lite0": DetectorSettings(backbone="efficientnet_lite0"),
    "detectron2 small": DetectorSettings(detector="detectron2"),
    "detectron2 small, resized": DetectorSettings(detector="detectron2", image_size=48, max_image_size=64),
    "detectron2 resnet18": DetectorSettings(detector="detectron2", backbone="resnet18"),
    # every query is kept: an untrained Deformable-DETR gives low scores
    "rtdetr": DetectorSettings(detector="rtdetr", detection_threshold=0.0),
    "rtdetr, resized": DetectorSettings(detector="rtdetr", image_size=48, max_image_size=64, detection_threshold=0.0),
    "deformable_detr": DetectorSettings(detector="deformable_detr", detection_threshold=0.0),
}
MARKS = {"detectron2": NEEDS_DETECTRON2, **dict.fromkeys(NAMES, NEEDS_TRANSFORMERS)}


def rows(names: list[str]) -> list[object]:
    return [pytest.param(name, marks=MARKS.get(re.split(r"[ ,]", name)[0], ())) for name in names]


@pytest.fixture(params=rows(list(BACKENDS)), scope="module")
def detector(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return awakened(with_few_proposals(build_detector(BACKENDS[request.param], SPACE).eval()))


@torch.no_grad()
def awakened(detector: nn.Module) -> nn.Module:
    """The same detector, a first step behind it: layers that start at 0, as in detection transformers, pass no gradient on."""
    for parameter in detector.parameters():
        parameter += 0.01 * torch.randn_like(parameter)
    return detector


def with_few_proposals(detector: nn.Module) -> nn.Module:
    """The same detector; the thousand proposals of a ResNet take seconds for each image."""
    if detector.settings.detector == "torchvision":
        detector.rpn._post_nms_top_n = {"training": 60, "testing": 20}
    if detector.settings.detector == "detectron2":
        detector.proposal_generator.post_nms_topk = {True: 60, False: 20}
    return detector


def drawn_image(height: int, width: int, *boxes: tuple[int, int, int, int, int]) -> tuple[Tensor, LabeledBoxes]:
    """Grey noise with filled boxes x1, y1, x2, y2, label: red for label 0, blue for 1."""
    image = 0.4 + 0.05 * torch.rand(3, height, width, generator=torch.Generator().manual_seed(height))
    for x1, y1, x2, y2, label in boxes:
        image[:, y1:y2, x1:x2] = torch.tensor([0.9, 0.1, 0.1] if label == 0 else [0.1, 0.1, 0.9])[:, None, None]
    corners = torch.tensor([box[:4] for box in boxes], dtype=torch.float32).view(-1, 4)
    return image, LabeledBoxes(corners, torch.tensor([box[4] for box in boxes], dtype=torch.int64), SPACE)


def test_follows_the_protocol(detector: nn.Module) -> None:
    assert isinstance(detector, Detector)
    assert detector.space == SPACE


def test_losses_are_finite_and_reach_every_trainable_parameter(detector: nn.Module) -> None:
    scenes = [drawn_image(48, 64, (5, 5, 30, 30, 0), (34, 10, 60, 40, 1)), drawn_image(40, 40, (8, 8, 30, 30, 1))]
    detector.train()
    losses = detector.losses([image for image, _ in scenes], [boxes for _, boxes in scenes])
    sum(losses.values()).backward()
    detector.eval()
    assert all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
    without = [name for name, p in detector.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    # The deepest level of a tiny image may hold no sampled region; the parts that every image uses must learn.
    assert not [name for name in without if "backbone." not in name]
    detector.zero_grad()


def test_images_without_boxes_are_legal(detector: nn.Module) -> None:
    detector.train()
    losses = detector.losses([drawn_image(48, 48)[0]] * 2, [LabeledBoxes.empty(SPACE)] * 2)
    sum(losses.values()).backward()
    detector.eval()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)
    detector.zero_grad()


def test_an_image_that_is_one_crowd_teaches_the_classes_nothing(detector: nn.Module) -> None:
    if detector.settings.detector not in ("torchvision", "detectron2"):
        pytest.skip("queries may lie outside the image; tests of its losses have them by hand")
    image, _ = drawn_image(48, 64)
    crowd = LabeledBoxes(torch.tensor([[0.0, 0.0, 64.0, 48.0]]), torch.tensor([0]), SPACE, weights=torch.zeros(1))
    detector.train()
    detector.zero_grad()
    losses = detector.losses([image], [crowd])
    sum(losses.values()).backward()
    detector.eval()
    assert not any(parameter.grad.any() for name, parameter in detector.named_parameters() if name.startswith("roi_heads."))
    assert all(loss.isfinite() for loss in losses.values())


def test_predictions_are_consistent_and_in_the_original_frame(detector: nn.Module) -> None:
    tall, wide = drawn_image(80, 40, (5, 5, 30, 70, 0))[0], drawn_image(40, 80, (5, 5, 70, 30, 0))[0]
    for image, found in zip((tall, wide), detector.predict([tall, wide]), strict=True):
        assert len(found) > 0
        assert found.space == SPACE
        assert found.labels.min() >= 0
        assert found.labels.max() < len(SPACE)
        torch.testing.assert_close(found.class_scores[torch.arange(len(found)), found.labels], found.scores)
        if detector.settings.detector in ("torchvision", "detectron2"):  # a softmax with background; elsewhere sigmoids
            assert (found.class_scores.sum(dim=1) <= 1.0 + 1e-6).all()
        assert (found.scores.diff() <= 0).all()
        assert found.boxes_xyxy.min() >= 0
        assert (found.boxes_xyxy[:, 2:] <= torch.tensor([image.shape[2], image.shape[1]])).all()


def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(detector: nn.Module) -> None:
    images = [drawn_image(*size, (5, 5, 30, 30, 0))[0] for size in ((48, 64), (48, 64), (50, 61))]
    for image, together in zip(images, detector.predict(images), strict=True):
        alone = detector.predict([image])[0]
        torch.testing.assert_close(alone.boxes_xyxy, together.boxes_xyxy, atol=1e-2, rtol=1e-4)
        torch.testing.assert_close(alone.class_scores, together.class_scores, atol=1e-4, rtol=1e-4)


def test_scaled_it_sees_larger_images_and_stays_as_it_is(detector: nn.Module) -> None:
    image, larger = drawn_image(40, 60, (5, 5, 30, 30, 0))[0], copy(detector)
    size, longest = detector.settings.image_size or 40, detector.settings.max_image_size
    larger.settings = replace(detector.settings, image_size=round(1.5 * size), max_image_size=round(1.5 * longest))
    before, (wanted,), (found,) = detector.predict([image])[0], larger.predict([image]), scaled(detector, 1.5).predict([image])
    torch.testing.assert_close(found.boxes_xyxy, wanted.boxes_xyxy)
    torch.testing.assert_close(found.class_scores, wanted.class_scores)
    assert not torch.equal(before.boxes_xyxy, found.boxes_xyxy)
    assert torch.equal(detector.predict([image])[0].boxes_xyxy, before.boxes_xyxy)


def test_prediction_takes_no_gradient_and_restores_the_mode(detector: nn.Module) -> None:
    detector.train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    found = detector.predict([drawn_image(48, 64)[0]])[0]
    assert detector.training
    assert not found.scores.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    detector.eval()
    detector.predict([])
    assert not detector.training


def test_a_checkpoint_gives_the_same_detector(detector: nn.Module, tmp_path: Path) -> None:
    torch.save(describe_detector(detector.settings, SPACE) | {"model": detector.state_dict()}, tmp_path / "model.pt")
    restored = with_few_proposals(detector_from_checkpoint(torch.load(tmp_path / "model.pt", weights_only=True)))
    assert restored.space == SPACE
    assert restored.settings == detector.settings
    image = drawn_image(48, 64, (5, 5, 30, 30, 0))[0]
    torch.testing.assert_close(restored.predict([image])[0].class_scores, detector.predict([image])[0].class_scores)


@pytest.mark.parametrize("library", rows(["torchvision", "detectron2"]))
def test_learns_two_boxes_and_draws_them_in_the_original_frame(library: str) -> None:
    torch.manual_seed(0)
    detector = build_detector(DetectorSettings(detector=library, image_size=64), SPACE).train()
    image, boxes = drawn_image(96, 192, (24, 12, 84, 60, 0), (120, 30, 168, 84, 1))
    optimizer = torch.optim.AdamW(detector.parameters(), lr=3e-3)
    history = []
    for _ in range(35):
        loss = sum(detector.losses([image, image.flip(2)], [boxes, flipped(boxes, 192)]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.5 * history[0]
    found = detector.predict([image])[0]
    for label in (0, 1):
        best = found[found.labels == label].boxes_xyxy[0]
        torch.testing.assert_close(best, boxes.boxes_xyxy[label], atol=12, rtol=0)


def flipped(boxes: LabeledBoxes, width: int) -> LabeledBoxes:
    x1, y1, x2, y2 = boxes.boxes_xyxy.unbind(1)
    return LabeledBoxes(torch.stack([width - x2, y1, width - x1, y2], dim=1), boxes.labels, SPACE)
