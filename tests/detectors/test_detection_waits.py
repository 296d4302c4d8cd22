"""How often the detections of a batch make the program wait for a device; see `waits`. No GPU is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from detr_parts import detr
from torch import Tensor
from waits import counted_waits, there

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors import region_detections
from lat.detectors.base import build_detector
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.region_detections import RegionScores, detected, predicted
from lat.detectors.torchvision.proposal_selection import ProposalRules, choose_regions, region_lists
from lat.engine.runtime import build_fabric
from lat.engine.training_settings import RuntimeSettings
from lat.stages.shared.detection import Predictor
from lat.stages.shared.ensemble_labels import Members, ShardLabels

SPACE = LabelSpace.from_names("town", ["car", "bus", "person"])
SIZE_HW = (60, 80)


def regions_of(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Boxes (count, 3, 4), some of them beyond the image or without area, and scores (count, 3)."""
    generator = torch.Generator().manual_seed(seed)
    corner = 70 * torch.rand(count, 3, 2, generator=generator)
    boxes = torch.cat([corner, corner + 30 * torch.rand(count, 3, 2, generator=generator)], dim=2)
    boxes[::7, :, 2] = boxes[::7, :, 0]
    return boxes, torch.softmax(2 * torch.randn(count, 4, generator=generator), dim=1)[:, :3]


def test_the_detections_of_a_transformer_take_one_wait() -> None:
    detector = detr("rtdetr", image_size=48)
    batch, generator = detector._batch([torch.rand(3, 33, 105)] * 2), torch.Generator().manual_seed(0)
    scores, shares = torch.rand(2, 9, len(detector.space), generator=generator), torch.rand(2, 9, 4, generator=generator)
    wanted = detector._selected(batch, scores, shares).handed_out()
    with counted_waits() as waits:
        found = detector._selected(batch, there(scores), there(shares)).handed_out()
        assert len(waits) == 1, waits.found
    assert [one.scores.tolist() for one in found] == [one.scores.tolist() for one in wanted]


def regions_of_three() -> RegionScores:
    boxes, scores = zip(*(regions_of(count, seed) for seed, count in enumerate((60, 0, 90))), strict=True)
    return RegionScores(boxes, scores, [(SIZE_HW, SIZE_HW), (SIZE_HW, (120, 160)), (SIZE_HW, (60, 160))])


def elsewhere(regions: RegionScores) -> RegionScores:
    columns = ([there(one) for one in column] for column in (regions.boxes_xyxy, regions.class_scores))
    return RegionScores(*columns, regions.sizes_hw)


@pytest.mark.parametrize("voting_iou", [1.0, 0.5])
def test_detections_of_a_batch_are_those_of_each_image_and_take_two_waits(voting_iou: float) -> None:
    settings = DetectorSettings(detection_threshold=0.2, nms_iou=0.3, max_detections=12)
    wanted = predicted(regions_of_three(), settings, SPACE, voting_iou)
    assert [len(one) for one in wanted] == [12, 0, 12]
    with counted_waits() as waits:
        found = detected(elsewhere(regions_of_three()), settings, SPACE, voting_iou=voting_iou).handed_out()
        assert len(waits) == 2, waits.found
    assert_same(found, wanted, rounded=voting_iou < 1.0)


def test_no_candidate_at_all_is_no_detection() -> None:
    settings = DetectorSettings(detection_threshold=0.9999)
    with counted_waits() as waits:
        found = detected(elsewhere(regions_of_three()), settings, SPACE).handed_out()
        assert len(waits) == 2, waits.found
    assert [len(one) for one in found] == [0, 0, 0]


def test_too_many_pairs_for_the_memory_are_selected_image_by_image(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DetectorSettings(detection_threshold=0.2, nms_iou=0.3, max_detections=12)
    monkeypatch.setattr(region_detections, "MOST_PAIRS", 10)
    with counted_waits():
        found = detected(elsewhere(regions_of_three()), settings, SPACE).handed_out()
    assert_same(found, predicted(regions_of_three(), settings, SPACE))


def assert_same(found: Sequence[LabeledBoxes], wanted: Sequence[LabeledBoxes], *, rounded: bool = False) -> None:
    for one, other in zip(found, wanted, strict=True):
        for name in ("labels", "boxes_xyxy", "scores", "class_scores"):
            is_close = rounded and name == "boxes_xyxy"  # sums of several boxes come in another order
            pair = getattr(one, name), getattr(other, name)
            assert torch.allclose(*pair, rtol=0, atol=1e-4) if is_close else torch.equal(*pair), name


def faster_rcnn(backbone: str) -> Any:
    """A detector that finds something, though it has not been trained."""
    torch.manual_seed(0)
    settings = DetectorSettings(
        detector="torchvision", backbone=backbone, weights="none", image_size=64, detection_threshold=0.3, nms_iou=0.4
    )
    detector = build_detector(settings, SPACE).eval()
    for module in (detector.rpn.head.bbox_pred, detector.rpn.head.cls_logits, detector.roi_heads.box_predictor.cls_score):
        torch.nn.init.normal_(module.weight, std=0.1 if backbone == "resnet18" else 0.5)
    if backbone != "small":
        detector.rpn._pre_nms_top_n = {"training": 60, "testing": 60}
        detector.rpn._post_nms_top_n = {"training": 40, "testing": 40}
    return detector


SIZES_HW = ((64, 96), (64, 96), (128, 192))
IMAGES = [torch.rand(3, *size, generator=torch.Generator().manual_seed(i)) for i, size in enumerate(SIZES_HW)]


@pytest.mark.parametrize("backbone", ["small", "resnet18"])
def test_a_whole_prediction_waits_twice_and_finds_what_torchvision_finds(backbone: str) -> None:
    detector = faster_rcnn(backbone)
    wanted = detector.predict(IMAGES)
    assert min(len(one) for one in wanted) > 3
    with counted_waits() as waits:
        detector = there(detector)
        images = [there(image) for image in IMAGES]
        detector.predict(images)  # the first batch copies the anchors' shapes
        before = len(waits)
        found = detector.predict(images)
        assert len(waits.found[before:]) == 2, waits.found[before:]
    assert_same(found, wanted)


def test_proposals_of_training_take_one_wait_and_are_torchvisions() -> None:
    rpn, generator = faster_rcnn("resnet18").rpn.train(), torch.Generator().manual_seed(0)
    level_sizes, sizes_hw = [300, 90, 12], [(64, 96), (40, 96), (64, 50)]
    boxes = 100 * torch.rand(3, sum(level_sizes), 4, generator=generator) - 10
    boxes[..., 2:] = boxes[..., :2] + 30 * torch.rand(3, sum(level_sizes), 2, generator=generator)
    objectness = torch.randn(3 * sum(level_sizes), 1, generator=generator)
    wanted, _ = rpn.filter_proposals(boxes, objectness, sizes_hw, level_sizes)
    assert min(map(len, wanted)) > 10
    with counted_waits() as waits:
        found, _ = rpn.filter_proposals(there(boxes), there(objectness), sizes_hw, level_sizes)
        assert len(waits) == 1, waits.found
        found = [one.cpu() for one in found]
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other)


def test_a_chain_of_suppressions_beyond_all_passes_is_followed_to_its_end() -> None:
    # Each of 40 boxes overlaps the next by 9/11: every second one stays, which is known from the first to the last.
    left = torch.arange(40.0)
    boxes = torch.stack([left, torch.zeros(40), left + 10, torch.full((40,), 10.0)], dim=1)[None]
    rules, objectness = ProposalRules(100, 100, 0.7, 0.001, 0.0), torch.linspace(5, -5, 40)[None]
    regions = choose_regions(boxes, objectness, [(20, 60)], [40], rules, passes=16)
    assert not regions.is_settled
    assert region_lists(regions) is None
    regions = choose_regions(boxes, objectness, [(20, 60)], [40], rules, passes=256)
    (found,) = region_lists(regions) or []
    assert found[:, 0].tolist() == left[::2].tolist()


def test_pseudo_labels_of_a_batch_and_its_mirror_images_take_three_waits() -> None:
    fabric = build_fabric(RuntimeSettings(accelerator="cpu"), seed=0)
    members = Members([Predictor(faster_rcnn("small"), fabric)], mirrored=True)
    labels = ShardLabels([(members, 0.2), (members, 0.0)], most=20)
    labels.add(IMAGES[:2])
    wanted = [labels.kept(number, SPACE) for number in range(2)]
    assert min(wanted[1][1]) > 3
    with counted_waits() as waits:
        there(members.predictors[0].detector)
        images = [there(image) for image in IMAGES[:2]]
        ShardLabels([(members, 0.2)], most=20).add(images)  # the first batch copies the anchors' shapes
        before, labels = len(waits), ShardLabels(labels.wanted, most=20)
        labels.add(images)
        assert len(waits.found[before:]) == 3, waits.found[before:]
        found = [labels.kept(number, SPACE) for number in range(2)]
    for (one, counts), (other, other_counts) in zip(found, wanted, strict=True):
        assert counts == other_counts
        assert torch.equal(one.labels, other.labels)
        torch.testing.assert_close(one.boxes_xyxy, other.boxes_xyxy)
        torch.testing.assert_close(one.scores, other.scores)
