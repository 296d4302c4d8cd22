"""A training step of torchvision's detectors waits for a device once, and has the losses of a CPU; see `waits`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.image_list import ImageList
from waits import counted_waits, there

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.torchvision.device_training import DeviceTraining
from lat.detectors.torchvision.faster_rcnn import TorchvisionDetector
from lat.detectors.torchvision.training_samples import match_on_device
from lat.detectors.torchvision.weighted_rcnn import match_around_dont_care

SPACE = LabelSpace.from_names("town", ["car", "bus", "person"])
SIZES_HW = ((64, 96), (48, 96), (64, 64))


def corners(count: int, side: float, generator: torch.Generator) -> Tensor:
    low = side * torch.rand(count, 2, generator=generator)
    return torch.cat([low, low + 3 + 30 * torch.rand(count, 2, generator=generator)], dim=1)


@pytest.mark.parametrize("low_quality", [False, True])
def test_a_device_matches_as_torchvision_around_dont_care_boxes_and_without_those_that_are_missing(low_quality: bool) -> None:
    generator, matcher = torch.Generator().manual_seed(0), Matcher(0.6, 0.3, low_quality)
    kinds_found = set()
    for labels in ([1, 2, 3, 1, 2], [1, -1, 2, 0, -1], [-1, -1, 0, -1], [0, 0], [2, 0, 1]):
        for _ in range(20):
            numbers, boxes = torch.tensor(labels), corners(len(labels), 40, generator)
            regions = torch.cat([corners(60, 40, generator), boxes + torch.rand(len(boxes), 4, generator=generator)])
            nearest, found = match_on_device(matcher, regions, boxes, numbers)
            seen = boxes[numbers != 0], numbers[numbers != 0]
            if not len(seen[0]):
                assert not found.any()
                continue
            row, kinds = match_around_dont_care(matcher, regions, seen[0], seen[1] > 0)
            assert found.tolist() == torch.where(kinds == 1, seen[1][row], kinds).tolist()
            assert boxes[nearest][found > 0].tolist() == seen[0][row][kinds == 1].tolist()
            kinds_found |= set(kinds.tolist())
    assert kinds_found == {-1, 0, 1}


def test_the_nearest_region_of_a_dont_care_box_is_an_object_if_a_box_that_counts_is_nearer() -> None:
    # The second box is don't-care. Its IoU with the first region, which no other exceeds, is 0.4; that of the first box is 0.5.
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 5.0, 10.0, 17.5]])
    regions = torch.tensor([[0.0, 5.0, 10.0, 10.0], [0.0, 0.0, 10.0, 5.5]])
    matcher, numbers = Matcher(0.7, 0.6, allow_low_quality_matches=True), torch.tensor([3, -1])
    assert match_around_dont_care(matcher, regions, boxes, numbers > 0)[1].tolist() == [1, 1]
    assert match_on_device(matcher, regions, boxes, numbers)[1].tolist() == [3, 3]


def detector_of(backbone: str, is_binary: bool) -> Any:
    torch.manual_seed(0)
    settings = DetectorSettings(detector="torchvision", backbone=backbone, weights="none", image_size=64)
    detector = TorchvisionDetector(settings, SPACE, is_binary=is_binary).train()
    torch.nn.init.normal_(detector.rpn.head.bbox_pred.weight, std=0.1)
    torch.nn.init.normal_(detector.roi_heads.box_predictor.bbox_pred.weight, std=0.1)
    detector.rpn._pre_nms_top_n = {"training": 60, "testing": 60}
    detector.rpn._post_nms_top_n = {"training": 40, "testing": 40}
    for sampler, size in ((detector.rpn.fg_bg_sampler, 32), (detector.roi_heads.fg_bg_sampler, 16)):
        sampler.batch_size_per_image = size  # fewer than there are: what is drawn counts
    return detector


def batch_of(counts: Sequence[int]) -> tuple[list[Tensor], list[LabeledBoxes], list[Tensor]]:
    """Images, boxes of which the second has no area and every third is don't-care, and classes that images supervise."""
    generator = torch.Generator().manual_seed(sum(counts))
    images = [torch.rand(3, *size, generator=generator) for size in SIZES_HW[: len(counts)]]
    truth = []
    for count in counts:
        boxes, weights = corners(count, 40, generator), 0.2 + 0.8 * torch.rand(count, generator=generator)
        boxes[1:2, 2] = boxes[1:2, 0]
        weights[2::3] = 0
        truth.append(LabeledBoxes(boxes, torch.randint(2, (count,), generator=generator), SPACE, weights=weights))
    return images, truth, [torch.tensor([True, True, number != 1]) for number in range(len(counts))]


@pytest.mark.parametrize(
    ("backbone", "is_binary", "counts"),
    [
        ("small", False, (5, 0, 9)),
        ("small", True, (4, 7)),
        ("small", False, (0, 0)),
        ("small", False, (2,)),
        ("resnet18", False, (5, 3, 8)),
    ],
)
def test_a_step_waits_once_for_all_images_and_has_the_losses_of_a_cpu(
    backbone: str, is_binary: bool, counts: tuple[int, ...]
) -> None:
    images, truth, masks = batch_of(counts)
    detector, copy = detector_of(backbone, is_binary), detector_of(backbone, is_binary)
    with torch.no_grad():
        for seed in (0, 1):
            torch.manual_seed(seed)
            wanted = detector.losses(images, truth, masks)
    with counted_waits() as waits:
        copy = there(copy)
        placed = [there(image) for image in images], [elsewhere(boxes) for boxes in truth], [there(mask) for mask in masks]
        torch.manual_seed(0)
        copy.losses(*placed)  # the first batch copies the anchors' shapes
        before = len(waits)
        torch.manual_seed(1)
        found = copy.losses(*placed)
        assert len(waits.found[before:]) == 1, waits.found[before:]
        numbers = {name: loss.item() for name, loss in found.items()}
    assert numbers == {name: pytest.approx(loss.item(), rel=1e-6) for name, loss in wanted.items()}
    assert all(numbers.values()) == bool(sum(counts))


def test_gradients_are_those_of_a_cpu() -> None:
    images, truth, masks = batch_of((5, 0, 9))
    detector = detector_of("small", True)
    gradients = []
    for is_device in (False, True):
        detector.zero_grad()
        torch.manual_seed(1)
        losses = device_losses(detector, images, truth, masks) if is_device else detector.losses(images, truth, masks)
        torch.stack(list(losses.values())).sum().backward()
        gradients.append({name: one.grad.clone() for name, one in detector.named_parameters()})
    for name, wanted in gradients[0].items():
        assert wanted.abs().sum() > 0, name
        torch.testing.assert_close(gradients[1][name], wanted, rtol=1e-4, atol=1e-6)


def device_losses(detector: Any, images: list[Tensor], truth: list[LabeledBoxes], masks: list[Tensor]) -> dict[str, Tensor]:
    """What a device computes, on the CPU, which knows gradients."""
    batch = detector.batch(images)
    features, targets = detector.features(batch), [detector.to_device_target(batch, i, boxes) for i, boxes in enumerate(truth)]
    of_batch = ImageList(batch.pixels, batch.sizes_hw), features, detector.levels(features)
    return DeviceTraining(detector.rpn, detector.roi_heads).losses(*of_batch, targets, masks)


def elsewhere(boxes: LabeledBoxes) -> LabeledBoxes:
    return boxes._with({name: there(column) for name, column in boxes._columns().items()})
