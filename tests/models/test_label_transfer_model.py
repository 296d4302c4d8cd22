"""The label-transfer model equals the slow reference from pooled regions to losses and labels, and its laws hold."""

from dataclasses import replace

import pytest
import reference
import torch
from scenes import (
    CLASS_COUNTS,
    JOINT,
    SIZE_HW,
    SPACES,
    draw_ground_truth,
    draw_scene,
    randomise,
    reference_proposals,
    rows_of,
    transfer_input,
)

from lat.core.origin import Origin
from lat.core.structures import LabeledBoxes, Proposals
from lat.labelling.labelling_settings import DecodeSettings
from lat.labelling.paper_form import transfer_labels
from lat.models.backbones.frozen import pool_regions
from lat.models.label_transfer_model import LabelTransferModel, TransferInput, decode_boxes
from lat.models.matching import match_proposals
from lat.models.model_settings import FusionSettings, HeadSettings, ProposalSettings
from lat.models.proposals import PrivilegedProposalGenerator

GENERATOR = PrivilegedProposalGenerator(JOINT, ProposalSettings(background_proposals=2))
HEAD = HeadSettings(pooled_size=2, dim=8)
DECODE = DecodeSettings(written_threshold=0.2, nms_iou=0.4, max_detections=12)
NO_PROPOSALS = GENERATOR.propose(LabeledBoxes.empty(SPACES[0]), [])
Batch = tuple[list[TransferInput], list[LabeledBoxes]]


def make_model(fusion: FusionSettings | None = None, seed: int = 0) -> LabelTransferModel:
    model = LabelTransferModel(JOINT, 3, HEAD, fusion or FusionSettings())
    randomise(model, seed, scale=0.5)
    return model.eval()


def make_image(space: int, truth: int, others: int, seed: int) -> tuple[TransferInput, LabeledBoxes]:
    ground_truth, pseudo = draw_scene(space, truth, others, seed)
    generator = torch.Generator().manual_seed(seed)
    proposals = GENERATOR.propose_for_training(ground_truth, pseudo, SIZE_HW, generator)
    return transfer_input(proposals, seed, map_hw=(16, 12) if seed % 2 else (16, 24)), ground_truth


def make_batch() -> Batch:
    """One image of each space with boxes, one without proposals, one without ground truth, one with don't-care boxes."""
    images = [make_image(space, truth=4, others=2, seed=space) for space in range(3)]
    images.append((transfer_input(NO_PROPOSALS, seed=3), draw_ground_truth(0, 2, torch.Generator().manual_seed(3))))
    images.append(make_image(1, truth=0, others=2, seed=4))
    dont_care, truth = make_image(2, truth=4, others=1, seed=5)
    images.append((dont_care, replace(truth, weights=torch.tensor([0.0, 1.0, 0.25, 0.0]))))
    return [image for image, _ in images], [truth for _, truth in images]


def slow_prediction(model: LabelTransferModel, image: TransferInput) -> tuple[reference.Matrix, list[reference.Matrix]]:
    pooled = pool_regions(image.features[None], [image.proposals.boxes_xyxy], [image.scale_yx], HEAD.pooled_size)
    return reference.predict(model, reference.numbers(pooled), reference_proposals(image.proposals))


def classes_of(space: int) -> range:
    return range(sum(CLASS_COUNTS[:space]), sum(CLASS_COUNTS[: space + 1]))


FUSIONS = [FusionSettings(), FusionSettings(attention="none"), FusionSettings(attend="image", cap="clamp")]


@pytest.mark.parametrize("fusion", FUSIONS, ids=("default", "none", "image"))
def test_losses_of_a_batch_equal_the_reference(fusion: FusionSettings) -> None:
    model, (images, truth) = make_model(fusion), make_batch()
    found = model.losses(images, truth)
    expected = reference.losses(
        [slow_prediction(model, image) for image in images],
        [reference_proposals(image.proposals) for image in images],
        [rows_of(boxes) for boxes in truth],
        [JOINT.index(boxes.space.name) for boxes in truth],
        CLASS_COUNTS,
        HEAD.match_iou,
    )
    assert (found["loss_class"].item(), found["loss_box"].item()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("fusion", FUSIONS, ids=("default", "none", "image"))
def test_transferred_labels_equal_the_reference_in_every_space(fusion: FusionSettings) -> None:
    model, (images, _) = make_model(fusion), make_batch()
    found = transfer_labels(model, images, JOINT.names, DECODE)
    for space, name in enumerate(JOINT.names):
        for image, (boxes, rows) in zip(images, found[name], strict=True):
            prediction, proposals = slow_prediction(model, image), reference_proposals(image.proposals)
            expected = reference.transfer(prediction, proposals, classes_of(space), SIZE_HW, DECODE)
            assert boxes.space is SPACES[space]
            assert boxes.labels.tolist() == [d.label for d in expected]
            assert rows.tolist() == [d.proposal for d in expected]
            assert boxes.scores.tolist() == pytest.approx([d.score for d in expected], abs=1e-4)
            for box, scores, detection in zip(boxes.boxes_xyxy.tolist(), boxes.class_scores.tolist(), expected, strict=True):
                assert box == pytest.approx(detection.box, abs=1e-2)
                assert scores == pytest.approx(detection.class_scores, abs=1e-4)


def test_the_reference_scenes_match_suppress_and_cut_off() -> None:
    """Otherwise the comparisons above would say little."""
    model, (images, truth) = make_model(), make_batch()
    matches = [
        reference.match(p.box, rows_of(boxes), 0.5)
        for image, boxes in zip(images, truth, strict=True)
        for p in reference_proposals(image.proposals)
    ]
    kinds = {(row is not None, weight) for row, weight in matches}
    assert kinds == {(True, 1.0), (True, 0.25), (False, 1.0), (False, 0.0)}
    counts = []
    for settings in (DECODE, replace(DECODE, nms_iou=1.0), replace(DECODE, max_detections=300)):
        counts.append(sum(len(boxes) for boxes, _ in transfer_labels(model, images, ["way"], settings)["way"]))
    assert counts[0] < counts[1]
    assert counts[0] < counts[2]


def test_a_batch_predicts_what_each_image_predicts_alone() -> None:
    model, (images, _) = make_model(), make_batch()
    logits, deltas = model(images)
    for i, image in enumerate(images):
        if len(image.proposals):
            alone_logits, alone_deltas = model([image])
            torch.testing.assert_close(logits[i, : len(image.proposals)], alone_logits[0])
            torch.testing.assert_close(deltas[i, : len(image.proposals)], alone_deltas[0])


def test_the_order_of_proposals_changes_neither_losses_nor_labels() -> None:
    model, (images, truth) = make_model(), make_batch()
    order = torch.randperm(len(images[0].proposals), generator=torch.Generator().manual_seed(0))
    shuffled = [replace(images[0], proposals=images[0].proposals[order]), *images[1:]]
    for name, loss in model.losses(images, truth).items():
        torch.testing.assert_close(model.losses(shuffled, truth)[name], loss)
    (boxes, rows), (again, again_rows) = (transfer_labels(model, batch, ["nu"], DECODE)["nu"][0] for batch in (images, shuffled))
    torch.testing.assert_close(again.boxes_xyxy, boxes.boxes_xyxy)
    assert order[again_rows].tolist() == rows.tolist()


@pytest.mark.parametrize("num_images", [1, 2])
@pytest.mark.parametrize("truth", [0, 2])
@pytest.mark.parametrize("fusion", FUSIONS, ids=("default", "none", "image"))
def test_images_without_any_proposal_are_legal(num_images: int, truth: int, fusion: FusionSettings) -> None:
    model = make_model(fusion)
    images = [transfer_input(NO_PROPOSALS, seed=0)] * num_images
    losses = model.losses(images, [draw_ground_truth(0, truth, torch.Generator())] * num_images)
    assert {name: loss.item() for name, loss in losses.items()} == {"loss_class": 0.0, "loss_box": 0.0}
    sum(losses.values(), torch.zeros(())).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    found = transfer_labels(model, images, JOINT.names, DECODE)
    assert [len(boxes) for name in JOINT.names for boxes, _ in found[name]] == [0] * (3 * num_images)


def proposals_at(*boxes_xyxy: list[float]) -> Proposals:
    """Ground-truth proposals of the first space's first class."""
    truth = LabeledBoxes(
        torch.tensor(boxes_xyxy, dtype=torch.float32), torch.zeros(len(boxes_xyxy), dtype=torch.int64), SPACES[0]
    )
    return GENERATOR.propose(truth, [])


def test_disjoint_proposals_predict_what_each_predicts_alone() -> None:
    model = make_model()
    image = transfer_input(proposals_at([0, 0, 20, 20], [20, 0, 40, 20], [50, 30, 90, 60]), seed=0)  # edges touch
    logits, deltas = model([image])
    for m in range(3):
        alone_logits, alone_deltas = model([replace(image, proposals=image.proposals[m : m + 1])])
        torch.testing.assert_close(logits[:, m : m + 1], alone_logits)
        torch.testing.assert_close(deltas[:, m : m + 1], alone_deltas)


def test_a_proposal_without_area_attends_to_itself() -> None:
    model = make_model()
    image = transfer_input(proposals_at([30, 10, 30, 40], [20, 0, 40, 20]), seed=0)
    expected, _ = slow_prediction(model, image)
    torch.testing.assert_close(model([image])[0][0], torch.tensor(expected))


def match_labels(box: list[float], *truth: LabeledBoxes) -> tuple[list[int], list[float]]:
    target = match_proposals(torch.tensor([[box]] * len(truth)), list(truth), JOINT, 0.5)
    return target.labels[:, 0].tolist(), target.weights[:, 0].tolist()


def test_a_proposal_matches_from_an_iou_of_one_half() -> None:
    """[0, 0, 10, 10] and [0, 0, 10, 20] share 100 of 200 pixels; with [0, 0, 10, 20.5] the IoU is 0.488."""
    truth = [LabeledBoxes(torch.tensor([[0, 0, 10, height]]), torch.tensor([1]), SPACES[2]) for height in (20.0, 20.5)]
    assert match_labels([0.0, 0.0, 10.0, 10.0], *truth) == ([3 + 2 + 1, len(JOINT)], [1.0, 1.0])


def test_a_proposal_matches_the_box_that_it_overlaps_most() -> None:
    """IoU 0.6 and 0.8 with a box of 100 pixels; a proposal never matches a don't-care box, however well it fits."""
    boxes = torch.tensor([[0.0, 0, 10, 6], [0, 0, 10, 8], [0, 0, 10, 10]])
    truth = LabeledBoxes(boxes, torch.tensor([0, 1, 0]), SPACES[1], weights=torch.tensor([1.0, 0.5, 0.0]))
    assert match_labels([0.0, 0.0, 10.0, 10.0], truth) == ([3 + 1], [0.5])


def test_half_of_a_proposal_inside_a_dont_care_box_takes_it_out_of_the_loss() -> None:
    """A crowd of 40 x 40 covers 50 and 49 of 100 pixels of the two proposals; its IoU with both is small."""
    crowd = LabeledBoxes(torch.tensor([[0.0, 0, 40, 40]]), torch.tensor([0]), SPACES[0], weights=torch.zeros(1))
    assert match_labels([35.0, 10.0, 45.0, 20.0], crowd) == ([len(JOINT)], [0.0])
    assert match_labels([35.1, 10.0, 45.1, 20.0], crowd) == ([len(JOINT)], [1.0])


def test_the_loss_sees_the_classes_of_the_images_own_space_and_background_alone() -> None:
    model, (images, truth) = make_model(), make_batch()
    before = model.losses(images[1:2], truth[1:2])["loss_class"].item()
    others = [k for k in range(len(JOINT)) if k not in classes_of(1)]
    with torch.no_grad():
        model.predictor.classes.bias[others] += 50.0
    loss = model.losses(images[1:2], truth[1:2])["loss_class"]
    assert loss.item() == pytest.approx(before, rel=1e-5)
    loss.backward()
    gradient = model.predictor.classes.weight.grad
    assert gradient is not None
    assert (gradient[others] == 0).all()
    assert (gradient[[*classes_of(1), -1]].abs().sum(dim=1) > 0).all()


def test_box_deltas_learn_only_for_the_matched_class() -> None:
    model = make_model()
    image = transfer_input(proposals_at([10, 10, 40, 40]), seed=0)
    truth = LabeledBoxes(torch.tensor([[12.0, 10, 40, 44]]), torch.tensor([2]), SPACES[0])
    model.losses([image], [truth])["loss_box"].backward()
    gradient = model.predictor.deltas.bias.grad
    assert gradient is not None
    moved = gradient.reshape(-1, 4).abs().sum(dim=1) > 0
    assert moved.nonzero().flatten().tolist() == [2]


def test_decoding_brings_a_proposal_to_the_box_that_its_deltas_encode() -> None:
    proposals, truth = [[10.0, 10.0, 30.0, 40.0], [0.0, 5.0, 96.0, 64.0]], [[12.0, 8.0, 44.0, 30.0], [50.0, 20.0, 60.0, 62.0]]
    deltas = torch.tensor([[reference.encode(t, p)] * 2 for t, p in zip(truth, proposals, strict=True)])
    decoded = decode_boxes(deltas, torch.tensor(proposals), torch.tensor([SIZE_HW, SIZE_HW]))
    torch.testing.assert_close(decoded, torch.tensor(truth)[:, None].expand(2, 2, 4), rtol=0, atol=1e-3)


def test_labels_stay_inside_the_original_image_above_the_threshold_and_in_order() -> None:
    model, (images, _) = make_model(), make_batch()
    for boxes, _ in transfer_labels(model, images, ["city"], DECODE)["city"]:
        assert (boxes.boxes_xyxy >= 0).all()
        assert (boxes.boxes_xyxy <= torch.tensor([SIZE_HW[1], SIZE_HW[0]]).repeat(2)).all()
        assert (boxes.scores >= DECODE.written_threshold).all()
        assert (boxes.scores.diff() <= 0).all()
        assert len(boxes) <= DECODE.max_detections


def test_gradients_are_finite_and_reach_every_layer() -> None:
    model, (images, truth) = make_model(), make_batch()
    sum(model.losses(images, truth).values(), torch.zeros(())).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert name == "fusion.key.bias" or parameter.grad.abs().sum() > 0, name  # a shift of all logits of a row is no change


def test_half_precision_features_and_mixed_precision_give_nearly_the_same() -> None:
    model, (images, truth) = make_model(), make_batch()
    halved = [replace(image, features=image.features.half()) for image in images]
    exact, half = model.losses(images, truth), model.losses(halved, truth)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.losses(halved, truth)
        found = transfer_labels(model, halved, ["city"], DECODE)["city"]
    for name, loss in exact.items():
        torch.testing.assert_close(half[name], loss, rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(mixed[name], loss, rtol=0.1, atol=0.1)
    assert all(boxes.boxes_xyxy.dtype == torch.float32 for boxes, _ in found)


def test_background_proposals_are_never_attended_to_but_may_become_objects() -> None:
    model, (images, truth) = make_model(), make_batch()
    image = images[0]
    real = image.proposals.origin != Origin.BACKGROUND
    without = replace(image, proposals=image.proposals[real])
    torch.testing.assert_close(model([image])[0][0, real], model([without])[0][0])
    boxes = torch.where(real[:, None], image.proposals.boxes_xyxy, truth[0].boxes_xyxy[:1])
    target = match_proposals(boxes[None], truth[:1], JOINT, 0.5)
    assert (target.labels[0, ~real] == truth[0].labels[0]).all()
