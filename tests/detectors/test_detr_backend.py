"""RT-DETR and Deformable-DETR as detectors: box weights, class masks, detections, and that they learn."""

from __future__ import annotations

import pytest
import torch
from detr_parts import NAMES, NEEDS_TRANSFORMERS, SPACE, detr
from torch import Tensor, nn

from lat.core.structures import LabeledBoxes

pytestmark = NEEDS_TRANSFORMERS

IMAGE = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(1))
BOXES = torch.tensor([[4.0, 4.0, 28.0, 30.0], [50.0, 8.0, 90.0, 40.0]])
KINDS = ("rtdetr", "deformable_detr")


def boxes_with(*weights: float, labels: tuple[int, ...] = (0, 1), boxes: Tensor = BOXES) -> LabeledBoxes:
    return LabeledBoxes(boxes[: len(weights)], torch.tensor(labels[: len(weights)]), SPACE, weights=torch.tensor(weights))


def losses_of(detector: nn.Module, boxes: LabeledBoxes, mask: Tensor | None = None) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return detector.losses([IMAGE], [boxes], None if mask is None else [mask])


def gradients(detector: nn.Module, boxes: LabeledBoxes) -> dict[str, Tensor]:
    detector.zero_grad()
    sum(losses_of(detector, boxes).values()).backward()
    return {name: parameter.grad.clone() for name, parameter in detector.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("name", KINDS)
def test_a_box_of_weight_zero_that_no_query_lies_on_changes_no_gradient(name: str) -> None:
    detector = detr(name).train()
    sliver = torch.cat([BOXES[:1], torch.tensor([[70.0, 50.0, 70.5, 50.5]])])
    without, beside = gradients(detector, boxes_with(1.0)), gradients(detector, boxes_with(1.0, 0.0, boxes=sliver))
    assert without.keys() == beside.keys()
    assert all(torch.equal(without[key], beside[key]) for key in without)
    other_class = gradients(detector, boxes_with(1.0, 0.0, labels=(0, 0), boxes=sliver))
    assert all(torch.equal(without[key], other_class[key]) for key in without)


@pytest.mark.parametrize("name", KINDS)
def test_a_weight_reaches_the_box_loss_of_its_box_alone(name: str) -> None:
    detector = detr(name).train()
    # of two boxes one is don't-care; the weight of the other cancels out as long as the sum of weights is below 1
    full, half = (losses_of(detector, boxes_with(weight, 0.0)) for weight in (1.0, 0.5))
    for kind in ("loss_bbox", "loss_giou"):
        torch.testing.assert_close(half[kind], 0.5 * full[kind])


def test_denoising_starts_from_no_dont_care_box() -> None:
    detector = detr("rtdetr").train()
    assert losses_of(detector, boxes_with(0.0, 0.0))["loss_denoising"].item() == 0.0
    assert losses_of(detector, boxes_with(0.0, 1.0))["loss_denoising"].item() > 0.0


@pytest.mark.parametrize("name", KINDS)
def test_terms_have_the_same_names_with_and_without_boxes(name: str) -> None:
    detector = detr(name).train()
    assert losses_of(detector, LabeledBoxes.empty(SPACE)).keys() == losses_of(detector, boxes_with(1.0, 1.0)).keys()


@pytest.mark.parametrize("name", KINDS)
def test_a_class_mask_keeps_the_other_classes_out(name: str) -> None:
    detector = detr(name).train()
    for mask in (torch.tensor([True, False]), None):
        detector.zero_grad()
        sum(losses_of(detector, boxes_with(1.0), mask).values()).backward()
        layers = detector.network.class_embed if name == "deformable_detr" else detector.network.model.decoder.class_embed
        assert all(layer.bias.grad[0].item() != 0 for layer in layers)
        assert all((layer.bias.grad[1].item() == 0) is (mask is not None) for layer in layers)


@pytest.mark.parametrize("name", KINDS)
def test_boxes_go_to_the_frame_of_the_network_and_come_back(name: str) -> None:
    detector = detr(name, image_size=48)
    # 33 x 105 becomes 48 x 153, in a batch as high and as wide as 72 x 153
    batch = detector._batch([torch.rand(3, 33, 105), torch.rand(3, 72, 48)])
    boxes = torch.tensor([[7.0, 3.0, 35.0, 30.0], [0.0, 0.0, 105.0, 33.0]])
    everything = torch.ones(len(SPACE), dtype=torch.bool)
    target = detector._to_target(batch, 0, LabeledBoxes(boxes, torch.tensor([1, 0]), SPACE), everything)
    padded_hw = (80, 160) if name == "rtdetr" else (48, 153)
    wanted = [105 / 2 * 153 / 105 / padded_hw[1], 33 / 2 * 48 / 33 / padded_hw[0], 153 / padded_hw[1], 48 / padded_hw[0]]
    torch.testing.assert_close(target["boxes"][1], torch.tensor(wanted))
    scores = torch.tensor([[0.1, 0.7], [0.6, 0.8]])
    found = detector._selected(batch, torch.stack([scores] * 2), torch.stack([target["boxes"]] * 2)).handed_out()[0]
    torch.testing.assert_close(found.boxes_xyxy, boxes.flip(0), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.class_scores, scores.flip(0))
    assert found.labels.tolist() == [1, 1]  # the best class of each query, the surer query first


def test_what_is_kept_follows_the_settings() -> None:
    image = IMAGE[:, :32]
    every = detr("rtdetr", detection_threshold=0.0).predict([image])[0]
    assert len(every) > 20
    threshold = every.scores[10].item()
    assert len(detr("rtdetr", detection_threshold=threshold).predict([image])[0]) == (every.scores > threshold).sum()
    assert torch.equal(detr("rtdetr", max_detections=7).predict([image])[0].scores, every.scores[:7])


def test_every_layer_learns_from_scratch_in_the_backbone_too() -> None:
    for name in NAMES:
        assert all(parameter.requires_grad for parameter in detr(name).parameters())
        norms = [module for module in detr(name).network.model.backbone.modules() if "Norm" in type(module).__name__]
        assert norms
        assert all(isinstance(norm, nn.BatchNorm2d) for norm in norms)


def test_mixed_precision_changes_no_box() -> None:
    detector = detr("rtdetr")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = detector.predict([IMAGE])[0]
    assert torch.equal(half.boxes_xyxy, detector.predict([IMAGE])[0].boxes_xyxy)


def test_an_image_with_fewer_cells_than_queries_is_padded() -> None:
    detector, image = detr("rtdetr", detection_threshold=0.0), IMAGE[:, :12, :17]
    assert detector._batch([image]).pixels.shape[-2:] == (32, 48)  # of 16 x 32 pixels there are 42 cells, of these 126
    found = detector.predict([image])[0]
    assert len(found) > 0
    assert (found.boxes_xyxy[:, 2:] <= torch.tensor([17, 12])).all()


def test_the_loss_falls_on_two_boxes() -> None:
    detector = detr("rtdetr").train()
    image = torch.full((3, 64, 96), 0.4)
    for (x1, y1, x2, y2), channel in zip(BOXES.int().tolist(), (0, 2), strict=True):
        image[channel, y1:y2, x1:x2] = 0.9
    optimizer = torch.optim.AdamW(detector.parameters(), lr=2e-3)
    history = []
    for _ in range(25):
        losses = detector.losses([image], [boxes_with(1.0, 1.0)])
        loss = losses["loss_bbox"] + losses["loss_giou"]
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append(loss.item())
    assert sum(history[-5:]) < 0.6 * sum(history[:5])
