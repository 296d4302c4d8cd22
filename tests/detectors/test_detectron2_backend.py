"""The Detectron2 detector beside Detectron2 itself: same losses, same detections; box weights; features to lend."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from detector_laws import assert_feature_maps_cover_the_image
from detectron2_files import NEEDS_DETECTRON2, SPACE, THIN_FPN, from_yaml, write_yaml
from torch import Tensor, nn

from lat.core.structures import LabeledBoxes
from lat.detectors.base import build_detector
from lat.detectors.detector_settings import DetectorSettings

pytestmark = list(NEEDS_DETECTRON2)

IMAGE = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(1))
BOXES = torch.tensor([[4.0, 4.0, 28.0, 30.0], [50.0, 8.0, 90.0, 40.0]])
FAR = torch.tensor([[0.0, 50.0, 9.0, 60.0]])
RESNET = DetectorSettings(detector="detectron2", backbone="resnet18", overrides=THIN_FPN)


@pytest.fixture
def yaml_file(tmp_path: Path) -> str:
    return write_yaml(tmp_path)


@pytest.fixture(scope="module")
def trained_mode() -> nn.Module:
    torch.manual_seed(0)
    return build_detector(DetectorSettings(detector="detectron2"), SPACE).train()


def boxes_with(*weights: float) -> LabeledBoxes:
    return LabeledBoxes(BOXES, torch.tensor([0, 1]), SPACE, weights=torch.tensor(weights))


def losses_of(detector: nn.Module, boxes: LabeledBoxes, seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return detector.losses([IMAGE], [boxes])


def instances(classes: list[int], weights: list[float]) -> Any:
    from detectron2.structures import Boxes, Instances

    return Instances((64, 96), gt_boxes=Boxes(BOXES), gt_classes=torch.tensor(classes), gt_weights=torch.tensor(weights))


def proposals_at(boxes_xyxy: Tensor) -> Any:
    from detectron2.structures import Boxes, Instances

    return Instances((64, 96), proposal_boxes=Boxes(boxes_xyxy), objectness_logits=torch.zeros(len(boxes_xyxy)))


@pytest.mark.parametrize("name", ["fpn", "c4"])
def test_with_all_weights_one_the_losses_are_those_of_detectron2(name: str, yaml_file: str) -> None:
    from detectron2.modeling import build_model
    from detectron2.utils.events import EventStorage

    ours = (build_detector(RESNET, SPACE) if name == "fpn" else from_yaml(yaml_file)).train()
    theirs = build_model(ours.config).train()
    theirs.load_state_dict(ours.state_dict())
    pixels = 255.0 * (IMAGE if name == "fpn" else IMAGE.flip(0))  # Detectron2's own files mean BGR
    for seed in (1, 2):
        found = losses_of(ours, boxes_with(1.0, 1.0), seed)
        torch.manual_seed(seed)
        truth = instances([0, 1], [1.0, 1.0])
        truth.remove("gt_weights")
        with EventStorage():
            wanted = theirs([{"image": pixels, "instances": truth}])
        assert found.keys() == wanted.keys()
        for key, loss in wanted.items():
            torch.testing.assert_close(found[key], loss, rtol=1e-6, atol=1e-8)


def test_detections_are_those_of_detectron2() -> None:
    torch.manual_seed(0)
    detector = build_detector(RESNET, SPACE).eval()
    found = detector.predict([IMAGE])[0]
    with torch.no_grad():
        wanted = detector([{"image": 255.0 * IMAGE}])[0]["instances"]  # `forward` is Detectron2's own
    assert len(found) > 10
    torch.testing.assert_close(found.boxes_xyxy, wanted.pred_boxes.tensor)
    torch.testing.assert_close(found.scores, wanted.scores)
    assert torch.equal(found.labels, wanted.pred_classes)


def test_each_axis_goes_back_to_the_original_frame_at_its_own_scale() -> None:
    torch.manual_seed(0)
    settings = DetectorSettings(detector="detectron2", image_size=48, detection_threshold=0.0, nms_iou=1.0, max_detections=1000)
    detector = build_detector(settings, SPACE)
    # 33 x 105 becomes 48 x 153 (152.7 rounded): the border of the resized image must be the border of the original one
    found = detector.predict([torch.rand(3, 33, 105, generator=torch.Generator().manual_seed(0))])[0]
    assert found.boxes_xyxy[:, 2].max().item() == pytest.approx(105, abs=0.01)
    assert found.boxes_xyxy[:, 3].max().item() == pytest.approx(33, abs=0.01)


def test_the_small_detectors_pooler_equals_detectron2s() -> None:
    from detectron2.modeling.poolers import ROIPooler
    from detectron2.structures import Boxes

    pooler = build_detector(DetectorSettings(detector="detectron2"), SPACE).roi_heads.box_pooler
    features = torch.randn(2, 5, 16, 24, generator=torch.Generator().manual_seed(0))
    boxes = [Boxes(BOXES), Boxes(torch.tensor([[-4.0, 2.0, 99.0, 60.5], [3.0, 3.0, 4.0, 4.0]]))]
    wanted = ROIPooler(7, (1 / 4,), sampling_ratio=1, pooler_type="ROIAlign")([features], boxes)
    torch.testing.assert_close(pooler([features], boxes), wanted)


def test_loss_of_three_regions_by_hand(trained_mode: nn.Module) -> None:
    from detectron2.utils.events import EventStorage

    from lat.detectors.detectron2.detectron2_parts import weighted_region_losses

    # Two classes; every region says background, which comes last, with 1/2 and the classes with 1/4 each.
    logits = torch.tensor([0.25, 0.25, 0.5]).log().repeat(3, 1)
    regions = proposals_at(torch.cat([BOXES, FAR]))
    regions.gt_classes, regions.gt_weights = torch.tensor([0, 1, 2]), torch.tensor([0.5, 1.0, 0.5])
    regions.gt_boxes = regions.proposal_boxes
    with EventStorage():
        found = weighted_region_losses(trained_mode.roi_heads.box_predictor, (logits, torch.zeros(3, 8)), [regions])
    assert found["loss_cls"].item() == pytest.approx((0.5 * math.log(4) + math.log(4) + math.log(2)) / 2.5)
    assert found["loss_box_reg"].item() == 0.0


def test_anchors_of_a_dont_care_box_are_ignored(trained_mode: nn.Module) -> None:
    from detectron2.structures import Boxes

    anchors = [Boxes(torch.cat([BOXES, FAR]))]
    (labels,), (matched,) = trained_mode.proposal_generator.label_and_sample_anchors(anchors, [instances([0, -1], [1.0, 0.0])])
    assert labels.tolist() == [1, -1, 0]
    assert matched[0].tolist() == BOXES[0].tolist()


def test_what_lies_in_a_crowd_by_half_of_its_area_is_neither_object_nor_background(trained_mode: nn.Module) -> None:
    from detectron2.structures import Boxes, Instances

    from lat.detectors.detectron2.detectron2_parts import apart_from_dont_care

    # members of a group: wholly inside, exactly half inside, a little less than half, and one that is annotated by itself
    crowd = torch.tensor([[40.0, 0.0, 96.0, 64.0]])
    regions = torch.tensor([[60.0, 9.0, 76.0, 30.0], [30.0, 9.0, 50.0, 30.0], [29.0, 9.0, 49.0, 30.0], [70.0, 40.0, 90.0, 60.0]])
    boxes = torch.cat([crowd, regions[3:]])
    values = {"gt_classes": torch.tensor([-1, 1]), "gt_weights": torch.tensor([0.0, 1.0])}
    truth = Instances((64, 96), gt_boxes=Boxes(boxes), **values)
    (labels,), (matched,) = trained_mode.proposal_generator.label_and_sample_anchors([Boxes(regions)], [truth])
    assert labels.tolist() == [-1, -1, 0, 1]
    assert matched[3].tolist() == regions[3].tolist()
    kept, counted = apart_from_dont_care(proposals_at(regions), truth, 0.5)
    assert kept.proposal_boxes.tensor.tolist() == regions[2:].tolist()
    assert counted.gt_classes.tolist() == [1]
    kept, counted = apart_from_dont_care(proposals_at(regions), truth[:1], 0.5)
    assert kept.proposal_boxes.tensor.tolist() == regions[2:3].tolist()
    assert len(counted) == 0


def test_regions_of_a_dont_care_box_are_not_sampled(trained_mode: nn.Module) -> None:
    from detectron2.utils.events import EventStorage

    near = BOXES + torch.tensor([1.0, 1.0, 0.0, 0.0])
    with EventStorage():
        (regions,) = trained_mode.roi_heads.label_and_sample_proposals(
            [proposals_at(torch.cat([near, FAR]))], [instances([0, -1], [1.0, 0.0])]
        )
    # The first box itself, the region near it and the far one; the second box and the region near it are nowhere.
    assert sorted(regions.gt_classes.tolist()) == [0, 0, 2]
    assert not any((regions.proposal_boxes.tensor == box).all(dim=1).any() for box in (BOXES[1], near[1]))


def test_losses_do_not_depend_on_the_class_of_a_dont_care_box(trained_mode: nn.Module) -> None:
    other_class = LabeledBoxes(BOXES, torch.tensor([0, 0]), SPACE, weights=torch.tensor([1.0, 0.0]))
    for name, loss in losses_of(trained_mode, boxes_with(1.0, 0.0)).items():
        torch.testing.assert_close(losses_of(trained_mode, other_class)[name], loss)


def test_an_image_of_dont_care_boxes_alone_gives_its_classes_no_gradient(trained_mode: nn.Module) -> None:
    trained_mode.zero_grad()
    sum(losses_of(trained_mode, boxes_with(0.0, 0.0)).values()).backward()
    predictor = trained_mode.roi_heads.box_predictor
    assert not predictor.bbox_pred.weight.grad.any()
    assert (predictor.cls_score.bias.grad[:-1] > 0).all()  # background regions push all classes down


def test_a_lower_weight_lowers_the_pull_of_its_class(trained_mode: nn.Module) -> None:
    pull = []
    for weight in (1.0, 0.5, 0.1):
        trained_mode.zero_grad()
        losses_of(trained_mode, boxes_with(1.0, weight))["loss_cls"].backward()
        pull.append(-trained_mode.roi_heads.box_predictor.cls_score.bias.grad[1].item())
    assert pull[0] > pull[1] > pull[2]


def test_boxes_without_area_take_no_part(trained_mode: nn.Module) -> None:
    flat = LabeledBoxes(torch.cat([BOXES, torch.tensor([[9.0, 9.0, 9.0, 20.0]])]), torch.tensor([0, 1, 1]), SPACE)
    for name, loss in losses_of(trained_mode, boxes_with(1.0, 1.0)).items():
        torch.testing.assert_close(losses_of(trained_mode, flat)[name], loss)


@pytest.mark.parametrize(("settings", "channels"), [(DetectorSettings(detector="detectron2"), 64), (RESNET, 4 * 16)])
def test_feature_maps_cover_the_image_at_the_exact_stride(settings: DetectorSettings, channels: int) -> None:
    assert_feature_maps_cover_the_image(settings, SPACE, channels)
