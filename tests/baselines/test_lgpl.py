"""The LGPL model: who learns from what, what the class does, and what `refine` keeps."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from factories import labeled_boxes
from torch import Tensor, nn

from lat.baselines.baseline_settings import LgplSettings
from lat.baselines.lgpl import LgplModel, describe_lgpl, head_losses, lgpl_from_checkpoint
from lat.core.errors import InputError
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.detectors.base import build_detector
from lat.detectors.detector_settings import DetectorSettings

TARGET = LabelSpace.from_names("city", ("car", "truck", "bus"))
SOURCE = LabelSpace.from_names("way", ("vehicle", "sign"))
IMAGES = torch.rand(3, 3, 64, 96, generator=torch.Generator().manual_seed(1))
OURS = labeled_boxes(TARGET, [[4, 4, 34, 30], [50, 8, 90, 40]], [0, 1])
THEIRS = labeled_boxes(SOURCE, [[10, 20, 60, 50]], [1])
SETTINGS = LgplSettings(pairs_per_image=32)


@pytest.fixture
def model() -> LgplModel:
    torch.manual_seed(0)
    return LgplModel(SETTINGS, DetectorSettings(), TARGET).train()


def losses_of(
    model: LgplModel, theirs: LabeledBoxes = THEIRS, ours: LabeledBoxes = OURS, target_image: Tensor = IMAGES[1]
) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return model.losses([IMAGES[0]], [theirs], [target_image], [ours])


def in_eval(module: nn.Module) -> None:
    if isinstance(module, nn.BatchNorm2d):
        module.eval()


def has_gradient(module: nn.Module) -> bool:
    return any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in module.parameters())


def test_losses_of_three_pairs_by_hand() -> None:
    logits = torch.tensor([0.0, math.log(3), 0.0])  # validity 1/2, 3/4, 1/2
    deltas = torch.tensor([[1.0, 0, 0, 0], [9.0, 9, 9, 9], [0, 0, 0, 0]])  # smooth-L1 of 1 with beta 1/9 is 1 - 1/18
    valid = torch.tensor([True, False, True])
    found = head_losses(logits, deltas, valid, torch.zeros(3, 4), torch.tensor([0.5, 1.0, 0.0]))
    assert found["loss_validity"].item() == pytest.approx((0.5 * math.log(2) + math.log(4)) / 1.5)
    assert found["loss_refine"].item() == pytest.approx(0.5 * (1 - 1 / 18) / 3)


def test_the_head_teaches_the_encoder_and_not_the_proposal_network(model: LgplModel) -> None:
    losses = losses_of(model)
    (losses["loss_validity"] + losses["loss_refine"]).backward()
    assert not has_gradient(model.rpn)
    assert has_gradient(model.backbone)
    assert has_gradient(model.head)


def test_the_proposal_network_learns_from_the_source_alone(model: LgplModel) -> None:
    model.apply(in_eval)  # otherwise all images of a batch share their statistics
    losses = losses_of(model)
    other = losses_of(model, ours=OURS[:1], target_image=IMAGES[2])
    for name in ("loss_objectness", "loss_rpn_box_reg"):
        assert losses[name].item() == other[name].item()
    assert losses["loss_validity"].item() != other["loss_validity"].item()
    (losses["loss_objectness"] + losses["loss_rpn_box_reg"]).backward()
    assert has_gradient(model.rpn)
    assert has_gradient(model.backbone)
    assert not has_gradient(model.head)


def test_source_classes_do_not_matter(model: LgplModel) -> None:
    renamed = labeled_boxes(SOURCE, THEIRS.boxes_xyxy.tolist(), [0])
    for name, loss in losses_of(model).items():
        assert losses_of(model, theirs=renamed)[name].item() == loss.item()


def test_boxes_of_weight_0_take_no_part(model: LgplModel) -> None:
    ours = labeled_boxes(TARGET, OURS.boxes_xyxy.tolist(), [0, 1], weights=[1, 0])
    as_bus = labeled_boxes(TARGET, OURS.boxes_xyxy.tolist(), [0, 2], weights=[1, 0])
    losses = losses_of(model, ours=ours)
    for name, loss in losses_of(model, ours=as_bus).items():
        assert losses[name].item() == loss.item()
    open_theirs = labeled_boxes(SOURCE, [[0, 0, 96, 64]], weights=[0])
    open_ours = labeled_boxes(TARGET, [[0, 0, 96, 64]], weights=[0])
    losses = losses_of(model, theirs=open_theirs, ours=open_ours)
    assert losses["loss_rpn_box_reg"] == losses["loss_validity"] == losses["loss_refine"] == 0.0


def test_images_without_boxes_are_legal(model: LgplModel) -> None:
    losses = losses_of(model, LabeledBoxes.empty(SOURCE), LabeledBoxes.empty(TARGET))
    assert losses["loss_refine"] == losses["loss_rpn_box_reg"] == 0.0
    assert losses["loss_validity"] > 0
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_batch_of_one_side_alone_is_legal(model: LgplModel) -> None:
    sources = model.losses([IMAGES[0]], [THEIRS], [], [])
    targets = model.losses([], [], [IMAGES[1]], [OURS])
    assert sources.keys() == targets.keys()
    assert sources["loss_validity"] == sources["loss_refine"] == 0.0
    assert targets["loss_objectness"] == targets["loss_rpn_box_reg"] == 0.0
    open_ours = labeled_boxes(TARGET, [[0, 0, 96, 64]], weights=[0])
    torch.stack(list(model.losses([], [], [IMAGES[1]], [open_ours]).values())).sum().backward()


def test_the_class_decides_validity_and_box(model: LgplModel) -> None:
    boxes = labeled_boxes(TARGET, [[4, 4, 34, 30]] * 3, [0, 1, 1])
    (refined,) = model.refine([IMAGES[0]], [boxes])
    assert refined.scores[0] != refined.scores[1] == refined.scores[2]
    assert (refined.boxes_xyxy[0] != refined.boxes_xyxy[1]).any()
    assert torch.equal(refined.boxes_xyxy[1], refined.boxes_xyxy[2])


def test_refined_boxes_are_the_same_boxes_moved(model: LgplModel) -> None:
    boxes = labeled_boxes(TARGET, [[4, 4, 34, 30], [50, 8, 96, 64]], [2, 1], weights=[1, 0], annotation_ids=[7, 9])
    small = torch.rand(3, 40, 50)
    refined = model.refine([IMAGES[0], small, IMAGES[1]], [boxes, LabeledBoxes.empty(TARGET), OURS])
    assert [len(one) for one in refined] == [2, 0, 2]
    assert refined[0].labels.tolist() == [2, 1]
    assert refined[0].weights.tolist() == [1.0, 0.0]
    assert refined[0].annotation_ids.tolist() == [7, 9]
    assert (refined[0].boxes_xyxy != boxes.boxes_xyxy).any()
    assert (refined[0].boxes_xyxy <= torch.tensor([96.0, 64.0, 96.0, 64.0])).all()
    (alone,) = model.refine([IMAGES[0]], [boxes])
    torch.testing.assert_close(alone.boxes_xyxy, refined[0].boxes_xyxy, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(alone.scores, refined[0].scores)
    assert model.training


def test_without_deltas_boxes_stay_where_they_are_in_resized_images_too() -> None:
    model = LgplModel(SETTINGS, DetectorSettings(image_size=50), TARGET)
    nn.init.zeros_(model.head.predictor.bbox_pred.weight)
    nn.init.zeros_(model.head.predictor.bbox_pred.bias)
    (refined,) = model.refine([IMAGES[0]], [OURS])
    torch.testing.assert_close(refined.boxes_xyxy, OURS.boxes_xyxy, atol=1e-4, rtol=1e-5)


def test_a_checkpoint_gives_the_same_model(model: LgplModel) -> None:
    content = {**describe_lgpl(SETTINGS, DetectorSettings(detector="auto"), TARGET), "model": model.state_dict()}
    again = lgpl_from_checkpoint(content)
    assert (again.space, again.lgpl_settings, again.training) == (TARGET, SETTINGS, False)
    (refined,), (before,) = again.refine([IMAGES[0]], [OURS]), model.refine([IMAGES[0]], [OURS])
    assert torch.equal(refined.boxes_xyxy, before.boxes_xyxy)
    assert torch.equal(refined.scores, before.scores)


def test_checkpoints_that_do_not_fit_are_refused(model: LgplModel) -> None:
    content = {**describe_lgpl(SETTINGS, DetectorSettings(), TARGET), "model": model.state_dict()}
    for change, message in (
        ({"kind": "detector"}, "contains 'detector'"),
        ({"settings": {"colour": 1}}, "unknown settings colour"),
        ({"space": SOURCE.to_dict()}, "do not fit"),
    ):
        with pytest.raises(InputError, match=message):
            lgpl_from_checkpoint({**content, **change})


def test_it_is_built_on_torchvision_alone() -> None:
    with pytest.raises(InputError, match="'detectron2', which LGPL does not support"):
        LgplModel(SETTINGS, DetectorSettings(detector="detectron2"), TARGET)


def test_the_weights_of_a_detector_start_encoder_and_proposal_network(tmp_path: Path) -> None:
    detector = build_detector(DetectorSettings(), SOURCE)
    torch.save({"model": detector.state_dict()}, tmp_path / "model.pt")
    model = LgplModel(SETTINGS, DetectorSettings(weights=str(tmp_path / "model.pt")), TARGET)
    for part in ("backbone", "rpn"):
        for name, value in getattr(detector, part).state_dict().items():
            assert torch.equal(getattr(model, part).state_dict()[name], value)
