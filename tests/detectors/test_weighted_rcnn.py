"""Box weights: all 1 is torchvision, 0 is don't-care, anything between scales the classification loss."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors.base import build_detector, describe_detector, detector_from_checkpoint
from lat.detectors.detector_settings import DetectorSettings
from lat.detectors.torchvision.region_losses import masked_logits, weighted_box_losses

SPACE = LabelSpace.from_names("shapes", ("disc", "bar"))
IMAGE = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(1))
BOXES = torch.tensor([[4.0, 4.0, 28.0, 30.0], [50.0, 8.0, 90.0, 40.0]])


def boxes_with(*weights: float) -> LabeledBoxes:
    return LabeledBoxes(BOXES, torch.tensor([0, 1]), SPACE, weights=torch.tensor(weights))


def losses_of(detector: nn.Module, boxes: LabeledBoxes, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return detector.losses([IMAGE], [boxes])


@pytest.fixture
def detector() -> nn.Module:
    torch.manual_seed(0)
    return build_detector(DetectorSettings(), SPACE).train()


def test_with_all_weights_one_the_losses_are_those_of_torchvision() -> None:
    torch.manual_seed(0)
    ours = build_detector(DetectorSettings(backbone="resnet18", image_size=64), SPACE).train()
    theirs = FasterRCNN(ours.backbone, num_classes=3, min_size=64, max_size=1333, box_batch_size_per_image=512).train()
    theirs.load_state_dict(ours.state_dict())
    theirs.transform.eval()  # in train mode it draws a size, even from one size, and so shifts the random numbers
    for model in (ours, theirs):
        model.rpn._post_nms_top_n = {"training": 100, "testing": 100}
    for seed in (1, 2):
        found = losses_of(ours, boxes_with(1.0, 1.0), seed)
        torch.manual_seed(seed)
        wanted = theirs([IMAGE], [{"boxes": BOXES, "labels": torch.tensor([1, 2])}])
        assert found.keys() == wanted.keys()
        for name, loss in wanted.items():
            torch.testing.assert_close(found[name], loss, rtol=1e-5, atol=1e-7)


def test_loss_of_three_regions_by_hand() -> None:
    # Two classes; every region says background with 1/2 and the classes with 1/4 each.
    logits = torch.tensor([0.5, 0.25, 0.25]).log().repeat(3, 1)
    deltas = torch.zeros(3, 12)
    deltas[0, 4:8] = torch.tensor([1.0, 0.0, 0.0, 0.0])  # of class 1; the target is 0, so smooth-L1 is 1 - 1/18
    found = weighted_box_losses(logits, deltas, torch.tensor([1, 2, 0]), torch.zeros(3, 4), torch.tensor([0.5, 1.0, 1.0]))
    assert found["loss_classifier"].item() == pytest.approx((0.5 * math.log(4) + math.log(4) + math.log(2)) / 2.5)
    assert found["loss_box_reg"].item() == pytest.approx((1 - 1 / 18) / 3)


def test_anchors_of_a_dont_care_box_are_ignored(detector: nn.Module) -> None:
    anchors = torch.tensor([[4.0, 4.0, 28.0, 30.0], [50.0, 8.0, 90.0, 41.0], [0.0, 50.0, 9.0, 60.0]])
    target = {"boxes": BOXES, "labels": torch.tensor([1, -1]), "weights": torch.tensor([1.0, 0.0])}
    (labels,), (matched,) = detector.rpn.assign_targets_to_anchors([anchors], [target])
    assert labels.tolist() == [1.0, -1.0, 0.0]
    assert matched[:2].tolist() == BOXES.tolist()


def test_what_lies_in_a_crowd_by_half_of_its_area_is_neither_object_nor_background(detector: nn.Module) -> None:
    # members of a group: wholly inside, exactly half inside, a little less than half, and one that is annotated by itself
    crowd = torch.tensor([[40.0, 0.0, 96.0, 64.0]])
    regions = torch.tensor([[60.0, 9.0, 76.0, 30.0], [30.0, 9.0, 50.0, 30.0], [29.0, 9.0, 49.0, 30.0], [70.0, 40.0, 90.0, 60.0]])
    boxes = torch.cat([crowd, regions[3:]])
    target = {"boxes": boxes, "labels": torch.tensor([-1, 2]), "weights": torch.tensor([0.0, 1.0])}
    (labels,), (matched,) = detector.rpn.assign_targets_to_anchors([regions], [target])
    assert labels.tolist() == [-1.0, -1.0, 0.0, 1.0]
    assert matched[3].tolist() == regions[3].tolist()
    (nearest,), (classes,) = detector.roi_heads.assign_targets_to_proposals([regions], [boxes], [target["labels"]])
    assert classes.tolist() == [-1, -1, 0, 2]
    assert nearest[3] == 1
    # without any box that counts
    (labels,), _ = detector.rpn.assign_targets_to_anchors([regions[:3]], [{name: value[:1] for name, value in target.items()}])
    assert labels.tolist() == [-1.0, -1.0, 0.0]


def test_a_box_that_counts_wins_over_a_dont_care_box_that_fits_better(detector: nn.Module) -> None:
    # the region has an IoU of 0.8 with the first box and of 1 with the second
    boxes = torch.tensor([[0.0, 0.0, 40.0, 50.0], [0.0, 0.0, 40.0, 40.0]])
    target = {"boxes": boxes, "labels": torch.tensor([2, -1]), "weights": torch.tensor([1.0, 0.0])}
    (labels,), (matched,) = detector.rpn.assign_targets_to_anchors([boxes[1:]], [target])
    assert (labels.tolist(), matched.tolist()) == ([1.0], boxes[:1].tolist())
    (nearest,), (classes,) = detector.roi_heads.assign_targets_to_proposals([boxes[1:]], [boxes], [target["labels"]])
    assert (nearest.tolist(), classes.tolist()) == ([0], [2])


def test_regions_of_a_dont_care_box_are_not_sampled(detector: nn.Module) -> None:
    near = BOXES + torch.tensor([1.0, 1.0, 0.0, 0.0])
    far = torch.tensor([[0.0, 50.0, 9.0, 60.0]])
    target = {"boxes": BOXES, "labels": torch.tensor([1, -1]), "weights": torch.tensor([1.0, 0.0])}
    regions, _, labels, _ = detector.roi_heads.select_training_samples([torch.cat([near, far])], [target])
    # The first box itself, the region near it and the far one; the second box and the region near it are nowhere.
    assert sorted(labels[0].tolist()) == [0, 1, 1]
    assert not any((regions[0] == box).all(dim=1).any() for box in (BOXES[1], near[1]))


def test_losses_do_not_depend_on_the_class_of_a_dont_care_box(detector: nn.Module) -> None:
    other_class = LabeledBoxes(BOXES, torch.tensor([0, 0]), SPACE, weights=torch.tensor([1.0, 0.0]))
    for name, loss in losses_of(detector, boxes_with(1.0, 0.0)).items():
        torch.testing.assert_close(losses_of(detector, other_class)[name], loss)


def test_an_image_of_dont_care_boxes_alone_gives_its_classes_no_gradient(detector: nn.Module) -> None:
    sum(losses_of(detector, boxes_with(0.0, 0.0)).values()).backward()
    assert not detector.roi_heads.box_predictor.bbox_pred.weight.grad.any()
    # Background regions remain, and they push all classes down: no class logit is pulled up.
    assert (detector.roi_heads.box_predictor.cls_score.bias.grad[1:] > 0).all()


def test_a_lower_weight_lowers_the_pull_of_its_class(detector: nn.Module) -> None:
    pull = []
    for weight in (1.0, 0.5, 0.1):
        detector.zero_grad()
        losses_of(detector, boxes_with(1.0, weight))["loss_classifier"].backward()
        pull.append(-detector.roi_heads.box_predictor.cls_score.bias.grad[2].item())
    assert pull[0] > pull[1] > pull[2]


def test_nothing_to_sample_gives_zero_losses_with_a_gradient(detector: nn.Module) -> None:
    objectness, deltas = torch.randn(6, 1, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    losses = detector.rpn.compute_loss(objectness, deltas, [-torch.ones(6)], [torch.zeros(6, 4)])
    assert [loss.item() for loss in losses] == [0.0, 0.0]
    sum(losses).backward()
    features = {"0": torch.randn(1, 64, 16, 24, requires_grad=True)}
    target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "weights": torch.zeros(0)}
    regions = detector.roi_heads.losses(features, [torch.zeros(0, 4)], [(64, 96)], [target])
    assert [loss.item() for loss in regions.values()] == [0.0, 0.0]
    sum(regions.values()).backward()


def test_boxes_without_area_take_no_part(detector: nn.Module) -> None:
    flat = LabeledBoxes(torch.cat([BOXES, torch.tensor([[9.0, 9.0, 9.0, 20.0]])]), torch.tensor([0, 1, 1]), SPACE)
    for name, loss in losses_of(detector, boxes_with(1.0, 1.0)).items():
        torch.testing.assert_close(losses_of(detector, flat)[name], loss)


def test_samples_depend_on_the_global_seed_alone(detector: nn.Module) -> None:
    detector.rpn.fg_bg_sampler.batch_size_per_image = 8
    once, again, other = (losses_of(detector, boxes_with(1.0, 1.0), seed)["loss_objectness"].item() for seed in (3, 3, 4))
    assert once == again != other


def test_masked_classes_have_no_share_in_the_softmax_by_hand() -> None:
    # Background 1/2 and the classes 1/4 each; without class 2 what is left is 2/3 and 1/3. The second image has no region.
    logits = torch.tensor([0.5, 0.25, 0.25]).log().repeat(3, 1).requires_grad_()
    masks = [torch.tensor([True, False]), torch.tensor([False, False]), torch.tensor([True, True])]
    masked = masked_logits(logits, masks, [2, 0, 1])
    found = weighted_box_losses(masked, torch.zeros(3, 12), torch.tensor([1, 0, 2]), torch.zeros(3, 4), torch.ones(3))
    assert found["loss_classifier"].item() == pytest.approx((math.log(3) + math.log(1.5) + math.log(4)) / 3)
    found["loss_classifier"].backward()
    assert logits.grad is not None
    assert logits.grad[:2, 2].tolist() == [0, 0]
    assert logits.grad[0].tolist() == pytest.approx([2 / 9, -2 / 9, 0])
    assert masked_logits(torch.zeros(0, 3), masks, [0, 0, 0]).shape == (0, 3)


def test_all_classes_in_the_mask_is_no_mask(detector: nn.Module) -> None:
    for name, loss in losses_of(detector, boxes_with(1.0, 0.5)).items():
        torch.manual_seed(0)
        masked = detector.losses([IMAGE], [boxes_with(1.0, 0.5)], [torch.tensor([True, True])])
        assert masked[name].item() == loss.item()


def test_masked_classes_get_no_gradient(detector: nn.Module) -> None:
    discs = LabeledBoxes(BOXES, torch.tensor([0, 0]), SPACE)
    nothing = LabeledBoxes.empty(SPACE)
    only_discs = torch.tensor([True, False])
    sum(detector.losses([IMAGE, IMAGE], [discs, nothing], [only_discs, only_discs]).values()).backward()
    predictor = detector.roi_heads.box_predictor
    for layer, rows in ((predictor.cls_score, [2]), (predictor.bbox_pred, [8, 9, 10, 11])):
        assert not layer.weight.grad[rows].any()
        assert not layer.bias.grad[rows].any()
    assert predictor.cls_score.weight.grad[1].any()


def test_dropout_drops_that_share_of_the_box_heads_activations_in_training_alone(detector: nn.Module) -> None:
    seen: list[torch.Tensor] = []
    content = {**describe_detector(DetectorSettings(), SPACE), "model": detector.state_dict()}
    for share in (0.0, 0.5):
        detector = detector_from_checkpoint(content, dropout=share).train()
        detector.roi_heads.box_predictor.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        losses_of(detector, boxes_with(1.0, 1.0))
    without, with_dropout = seen
    is_active = without > 0
    torch.testing.assert_close(with_dropout[with_dropout > 0], 2 * without[with_dropout > 0])  # scaled by 1 / (1 - 0.5)
    assert 0.45 < float((with_dropout[is_active] > 0).float().mean()) < 0.55
    predicted = [detector.predict([IMAGE])[0].scores for _ in range(2)]
    assert torch.equal(*predicted)
