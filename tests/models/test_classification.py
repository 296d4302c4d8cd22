"""Losses and scores of the label-transfer model's logits, by hand and as laws."""

from __future__ import annotations

import math

import pytest
import torch
from scenes import JOINT, SIZE_HW, SPACES, draw_scene, randomise, transfer_input
from torch import Tensor

from lat.core.errors import InputError
from lat.core.losses import masked_cross_entropy
from lat.labelling.labelling_settings import DecodeSettings
from lat.labelling.paper_form import transfer_labels
from lat.models.classification import Classification
from lat.models.label_transfer_model import LabelTransferModel
from lat.models.model_settings import CLASSIFICATION_LOSSES, LOSSES_OF_RELATIONS, FusionSettings, HeadSettings, ProposalSettings
from lat.models.proposals import PrivilegedProposalGenerator

K = len(JOINT)  # city: 0 car, 1 person, 2 rider; nu: 3 car, 4 adult; way: 5 vehicle, 6 pedestrian, 7 cyclist, 8 sign
KIND_OF = torch.zeros(K, K, dtype=torch.bool)
KIND_OF[0, 3] = KIND_OF[3, 0] = KIND_OF[0, 5] = KIND_OF[3, 5] = KIND_OF[4, 1] = KIND_OF[4, 6] = True
# Universal classes: cars; persons; riders of city and way; signs; and what no space labels.
UNIVERSAL = torch.zeros(K + 3, 5, dtype=torch.bool)
for column, members in enumerate(((0, 3, 5), (1, 4, 6), (2, 7), (8,), ())):
    UNIVERSAL[list(members), column] = True
for row, columns in enumerate(((3, 4), (2, 3, 4), (4,))):
    UNIVERSAL[K + row, list(columns)] = True


def classification(loss: str) -> Classification:
    table = {"class_relational_bce": KIND_OF, "nll_plus": UNIVERSAL}.get(loss)
    return Classification(JOINT, loss, table)


@pytest.mark.parametrize("loss", CLASSIFICATION_LOSSES)
def test_losses_and_scores_are_float32_in_mixed_precision_too(loss: str) -> None:
    rule, draw = classification(loss), torch.Generator().manual_seed(0)
    logits = torch.randn(20, rule.num_logits, generator=draw)
    regions = torch.arange(20) % len(SPACES[0]), torch.zeros(20, dtype=torch.int64), torch.ones(20)  # of the first space
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores, mixed = {name: rule.scores(logits, name) for name in JOINT.names}, rule(logits, *regions)
    assert mixed.item() == rule(logits, *regions).item()
    for name, found in scores.items():
        assert found.dtype == torch.float32
        assert torch.equal(found, rule.scores(logits, name))


def value(loss: str, logits: list[float], label: int, space: int) -> float:
    row = torch.tensor([logits])
    return float(classification(loss)(row, torch.tensor([label]), torch.tensor([space]), torch.ones(1)))


@pytest.mark.parametrize("loss", CLASSIFICATION_LOSSES)
def test_scores_of_a_space_and_background_sum_to_one(loss: str) -> None:
    rule = classification(loss)
    logits = 4 * torch.randn(2, 50, rule.num_logits, generator=torch.Generator().manual_seed(0))
    for space in SPACES:
        scores = rule.scores(logits.bfloat16(), space.name)
        assert (scores.shape, scores.dtype) == ((2, 50, len(space) + 1), torch.float32)
        assert 0.0 <= scores.min() <= scores.max() <= 1.0
        torch.testing.assert_close(scores.sum(dim=-1), torch.ones(2, 50))


def test_sigmoids_are_the_scores_and_background_is_what_they_leave() -> None:
    logits = torch.tensor([[9.0] * 3 + [0.0, math.log(1 / 3)] + [9.0] * 4, [9.0] * 3 + [math.log(3.0)] * 2 + [9.0] * 4])
    expected = [[0.5, 0.25, 0.25], [0.5, 0.5, 0.0]]  # 3/4 twice is more than a whole
    torch.testing.assert_close(classification("null_bce").scores(logits, "nu"), torch.tensor(expected))


def test_scores_of_universal_classes_by_hand() -> None:
    # Probabilities 0.5, 0.2, 0.1, 0.1, 0.1 of cars, persons, riders, signs and the rest.
    logits = torch.tensor([0.5, 0.2, 0.1, 0.1, 0.1]).log()
    rule = classification("nll_plus")
    torch.testing.assert_close(rule.scores(logits, "city"), torch.tensor([0.5, 0.2, 0.1, 0.2]))
    torch.testing.assert_close(rule.scores(logits, "nu"), torch.tensor([0.5, 0.2, 0.3]))
    torch.testing.assert_close(rule.scores(logits, "way"), torch.tensor([0.5, 0.2, 0.1, 0.1, 0.1]))


def test_losses_by_hand() -> None:
    binary, universal = [0.0] * K, [math.log(p) for p in (0.5, 0.2, 0.1, 0.1, 0.1)]
    two = math.log(2.0)
    assert value("masked_softmax", [0.0] * (K + 1), 3, 1) == pytest.approx(math.log(3.0))  # two classes and background
    assert value("null_bce", binary, 3, 1) == pytest.approx(2 * two)
    assert value("class_relational_bce", binary, 3, 1) == pytest.approx(4 * two)  # car and vehicle of the other spaces as well
    assert value("class_relational_bce", binary, 5, 2) == pytest.approx(4 * two)  # a vehicle is no car: its own four classes
    assert value("class_relational_bce", binary, K, 0) == pytest.approx(3 * two)
    assert value("nll_plus", universal, 4, 1) == pytest.approx(-math.log(0.2))
    assert value("nll_plus", universal, K, 0) == pytest.approx(-math.log(0.2))
    assert value("nll_plus", universal, K, 1) == pytest.approx(-math.log(0.3))


def test_the_default_is_the_masked_softmax_without_further_weights() -> None:
    rule, generator = Classification(JOINT, HeadSettings().classification_loss), torch.Generator().manual_seed(0)
    logits, spaces, weights = torch.randn(6, K + 1, generator=generator), torch.tensor([0, 1, 2] * 2), torch.rand(6)
    labels = torch.tensor([0, 4, 8, K, K, 5])
    allowed = torch.stack([JOINT.mask(JOINT.names[space]) for space in spaces.tolist()])
    assert torch.equal(rule(logits, labels, spaces, weights), masked_cross_entropy(logits, labels, allowed, weights))
    assert not rule.state_dict()


@pytest.mark.parametrize("loss", LOSSES_OF_RELATIONS)
def test_losses_of_relations_need_them_and_keep_them_in_the_checkpoint(loss: str) -> None:
    with pytest.raises(InputError, match=r"lat\.head\.classification_loss: is '.*', which needs class relations"):
        Classification(JOINT, loss)
    assert list(classification(loss).state_dict()) == ["relations"]


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(InputError, match=r"^classification_loss: is 'softmax'"):
        HeadSettings(classification_loss="softmax")


@pytest.mark.parametrize("loss", CLASSIFICATION_LOSSES)
def test_a_model_learns_its_image_by_each_loss(loss: str) -> None:
    torch.manual_seed(0)
    relations: Tensor | None = getattr(classification(loss), "relations", None)
    head = HeadSettings(pooled_size=2, dim=8, classification_loss=loss)
    model = LabelTransferModel(JOINT, 3, head, FusionSettings(), relations)
    randomise(model, 0, scale=0.5)
    truth, pseudo = draw_scene(0, 4, 2, 0)
    generator = PrivilegedProposalGenerator(JOINT, ProposalSettings(background_proposals=2))
    images = [transfer_input(generator.propose_for_training(truth, pseudo, SIZE_HW, torch.Generator().manual_seed(0)), 0)]
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    losses = []
    for _ in range(60):
        losses.append(model.losses(images, [truth])["loss_class"])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    for name, ((boxes, _),) in transfer_labels(model, images, JOINT.names, DecodeSettings(written_threshold=0.0)).items():
        assert boxes.space.name == name
        assert len(boxes)
