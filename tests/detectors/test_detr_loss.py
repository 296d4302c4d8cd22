"""Weighted losses of RT-DETR and Deformable-DETR by hand, and beside those of transformers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from detr_parts import NAMES, NEEDS_TRANSFORMERS, detr
from torch import Tensor

pytestmark = NEEDS_TRANSFORMERS

# Queries 0 and 1 lie exactly on boxes 0 and 1, query 2 far from both; every score is 1/2.
BOXES = torch.tensor([[0.2, 0.2, 0.2, 0.2], [0.6, 0.6, 0.4, 0.4]])
QUERIES = torch.cat([BOXES, torch.tensor([[0.9, 0.1, 0.1, 0.1]])])
LOG2 = math.log(2)


def target(*weights: float, boxes: Tensor = BOXES, dont_care: Tensor = BOXES[:0], supervised: tuple[int, ...] = (1, 1)) -> Any:
    return {
        "class_labels": torch.tensor([0, 1])[: len(boxes)],
        "boxes": boxes,
        "weights": torch.tensor(weights),
        "dont_care": dont_care,
        "supervised": torch.tensor(supervised, dtype=torch.bool),
    }


def layer(boxes: Tensor = QUERIES) -> dict[str, Tensor]:
    return {"logits": torch.zeros(1, len(boxes), 2, requires_grad=True), "pred_boxes": boxes[None].clone().requires_grad_()}


def rtdetr_terms(outputs: Any, *targets: Any) -> dict[str, Tensor]:
    from transformers import RTDetrConfig

    from lat.detectors.transformers.detr_loss import WeightedRTDetrLoss

    return WeightedRTDetrLoss(RTDetrConfig(num_labels=2))(outputs, list(targets))


def deformable_terms(outputs: Any, *targets: Any) -> dict[str, Tensor]:
    from transformers.loss.loss_deformable_detr import DeformableDetrHungarianMatcher

    from lat.detectors.transformers.detr_loss import WeightedDeformableDetrLoss

    matcher = DeformableDetrHungarianMatcher(1, 5, 2)
    return WeightedDeformableDetrLoss(matcher, 2, 0.25, ["labels", "boxes"])(outputs, list(targets))


# A score of 1/2 costs log 2 times the factor of its kind. Varifocal: the IoU, here 1, where a query is to have the class, else
# 0.75 / 4. Focal: 0.25 / 4 and 0.75 / 4. Query 2 and the other class of queries 0 and 1 are negatives.
KINDS = [
    pytest.param(rtdetr_terms, "loss_vfl", 1.0, 0.75 / 4, id="rtdetr"),
    pytest.param(deformable_terms, "loss_ce", 0.25 / 4, 0.75 / 4, id="deformable_detr"),
]


@pytest.mark.parametrize(("terms", "name", "positive", "negative"), KINDS)
def test_class_loss_of_three_queries_by_hand(terms: Any, name: str, positive: float, negative: float) -> None:
    both = positive + negative  # of a matched query, which has two classes
    by_hand = {(1.0, 1.0): (2 * both + 2 * negative) / 2, (1.0, 0.5): (1.5 * both + 2 * negative) / 1.5}
    by_hand[(0.25, 0.25)] = 0.5 * both + 2 * negative  # divided by 1, the least
    for weights, wanted in by_hand.items():
        assert terms(layer(), target(*weights))[name].item() == pytest.approx(wanted * LOG2)


@pytest.mark.parametrize("terms", [rtdetr_terms, deformable_terms])
def test_box_losses_by_hand(terms: Any) -> None:
    # Query 1 is as wide as box 1, but half as high: L1 0.2, IoU 1/2, which is the generalised IoU as well
    shifted = QUERIES.clone()
    shifted[1, 3] = 0.2
    factors = {"loss_bbox": 5, "loss_giou": 2} if terms is rtdetr_terms else {"loss_bbox": 1, "loss_giou": 1}
    found = terms(layer(shifted), target(1.0, 0.5))
    assert found["loss_bbox"].item() == pytest.approx(factors["loss_bbox"] * 0.5 * 0.2 / 1.5)
    assert found["loss_giou"].item() == pytest.approx(factors["loss_giou"] * 0.5 * 0.5 / 1.5)


@pytest.mark.parametrize(("terms", "name", "positive", "negative"), KINDS)
def test_a_query_on_a_dont_care_box_has_no_gradient(terms: Any, name: str, positive: float, negative: float) -> None:
    outputs = layer()
    found = terms(outputs, target(1.0, boxes=BOXES[:1], dont_care=BOXES[1:]))
    assert found[name].item() == pytest.approx((positive + 3 * negative) * LOG2)
    sum(found.values()).backward()
    of_class, of_box = outputs["logits"].grad[0], outputs["pred_boxes"].grad[0]
    assert not of_class[1].any()
    assert not of_box[1].any()
    assert (of_class[2] > 0).all()  # the query that lies on nothing is pushed to background


def test_a_matched_query_learns_even_on_a_dont_care_box() -> None:
    outputs = layer()
    rtdetr_terms(outputs, target(1.0, boxes=BOXES[:1], dont_care=BOXES[:1]))["loss_vfl"].backward()
    assert outputs["logits"].grad[0, 0, 0] < 0


@pytest.mark.parametrize("terms", [rtdetr_terms, deformable_terms])
def test_a_query_of_which_half_lies_in_a_dont_care_box_is_itself_dont_care(terms: Any) -> None:
    def touched(*query: float) -> bool:
        outputs = layer(torch.tensor([query]))
        crowd = torch.tensor([[0.5, 0.5, 0.4, 0.4]])
        sum(terms(outputs, target(boxes=BOXES[:0], dont_care=crowd)).values()).backward()
        return bool(outputs["logits"].grad.any())

    assert not touched(0.5, 0.5, 0.1, 0.1)  # a member of a group, far smaller than the group
    assert not touched(0.31, 0.5, 0.1, 0.1)  # six tenths of it inside, which begins at 0.3
    assert touched(0.29, 0.5, 0.1, 0.1)
    assert touched(0.5, 0.5, 0.9, 0.4)  # covers all of the group, but lies in it by four ninths


@pytest.mark.parametrize(("terms", "name", "positive", "negative"), KINDS)
def test_classes_without_supervision_get_no_gradient(terms: Any, name: str, positive: float, negative: float) -> None:
    outputs = layer()
    found = terms(outputs, target(1.0, boxes=BOXES[:1], supervised=(1, 0)))
    assert found[name].item() == pytest.approx((positive + 2 * negative) * LOG2)
    found[name].backward()
    assert outputs["logits"].grad[0, :, 0].all()
    assert not outputs["logits"].grad[0, :, 1].any()


@pytest.mark.parametrize("name", NAMES)
def test_with_all_weights_one_every_term_is_the_librarys(name: str) -> None:
    from transformers.loss.loss_deformable_detr import DeformableDetrForObjectDetectionLoss
    from transformers.loss.loss_rt_detr import RTDetrForObjectDetectionLoss

    library = DeformableDetrForObjectDetectionLoss if name == "deformable_detr" else RTDetrForObjectDetectionLoss
    network = detr(name).network.train()
    ours, calls = network.loss_function, []
    network.loss_function = lambda *args, **more: calls.append((args, more)) or ours(*args, **more)
    three = torch.cat([BOXES, torch.tensor([[0.3, 0.7, 0.2, 0.1]])])
    labels = [target(1.0, 1.0), target(boxes=BOXES[:0]), target(1.0, boxes=BOXES[1:])]
    labels[0] |= {"boxes": three, "class_labels": torch.tensor([0, 1, 1]), "weights": torch.ones(3)}
    found = network(torch.rand(3, 3, 64, 96, generator=torch.Generator().manual_seed(0)), labels=labels)
    ((args, more),) = calls
    total, wanted, _ = library(*args, **more)
    factors = dict.fromkeys(wanted, 1)
    if name == "deformable_detr":  # whose own terms are not multiplied by their factors yet, and count boxes besides
        factors = {key: {"ce": 1, "bbox": 5, "giou": 2}.get(key.split("_")[1]) for key in wanted}
    wanted = {key: value * factors[key] for key, value in wanted.items() if factors[key]}
    assert found.loss_dict.keys() == wanted.keys()
    assert any("_dn_" in key for key in wanted) == (name != "deformable_detr")
    assert len(wanted) == (15 if name != "deformable_detr" else 6)  # 3 of each of 2 layers, of the encoder, of each of 2 denoised
    for key, value in wanted.items():
        assert torch.equal(found.loss_dict[key], value), key
    torch.testing.assert_close(found.loss, total)
