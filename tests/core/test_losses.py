"""Losses against float64 references written out here, with gradients in closed form, and numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lat.core.losses import (
    class_relational_bce,
    masked_cross_entropy,
    nll_plus,
    null_bce,
    remapped_cross_entropy,
    selective_cross_entropy,
)

# Two spaces: classes 0 to 2 and 3 to 4; 5 is background. The last row does not count.
LABELS = torch.tensor([0, 2, 4, 3, 5, 5, 1])
SPACES = torch.tensor([0, 0, 1, 1, 0, 1, 0])
SPACE_OF_CLASS = torch.tensor([0, 0, 0, 1, 1, -1])
WEIGHTS = torch.tensor([1.0, 0.5, 1.0, 0.25, 1.0, 1.0, 0.0])
ALLOWED = (SPACES[:, None] == SPACE_OF_CLASS) | (SPACE_OF_CLASS == -1)
IS_LABEL = torch.nn.functional.one_hot(LABELS, 6).bool()
RELATED = torch.zeros(5, 5, dtype=torch.bool)
RELATED[0, 3] = RELATED[1, 3] = RELATED[4, 2] = True
# Labels as universal classes: 0 is two of them, 4 as well; the background of space 0 (row 5) has a class of space 1 inside.
MEMBERS = torch.tensor(
    [
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [1, 0, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 1, 1],
    ]
).bool()

Loss = Callable[[Tensor], Tensor]


def logits_of(seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return (3 * torch.randn(7, 6, generator=torch.Generator().manual_seed(seed))).to(dtype).requires_grad_()


def softmax(z: Tensor, chosen: Tensor) -> Tensor:
    """Rows of float64 probabilities over chosen entries, 0 elsewhere."""
    powers = z.detach().double().exp() * chosen
    return powers / powers.sum(dim=1, keepdim=True)


def sigmoid(z: Tensor) -> Tensor:
    return 1 / (1 + (-z.detach().double()).exp())


def average(losses: Tensor) -> Tensor:
    return (losses * WEIGHTS.double()).sum() / WEIGHTS.double().sum()


def row_shares() -> Tensor:
    return WEIGHTS.double()[:, None] / WEIGHTS.double().sum()


def of_label(values: Tensor) -> Tensor:
    return values.gather(1, LABELS[:, None])[:, 0]


def check(loss: Loss, z: Tensor, value: Tensor, gradient: Tensor) -> None:
    found = loss(z)
    assert found.dtype == torch.float32
    found.backward()
    assert found.item() == pytest.approx(value.item(), rel=1e-5)
    assert z.grad is not None
    torch.testing.assert_close(z.grad.double(), gradient.double(), rtol=1e-4, atol=1e-6)


def masked(z: Tensor) -> Tensor:
    return masked_cross_entropy(z, LABELS, ALLOWED, WEIGHTS)


def selective(z: Tensor) -> Tensor:
    return selective_cross_entropy(z, LABELS, SPACES, SPACE_OF_CLASS, WEIGHTS)


@pytest.mark.parametrize("loss", [masked, selective])
def test_softmax_over_allowed_classes(loss: Loss) -> None:
    z = logits_of()
    p = softmax(z, ALLOWED)
    check(loss, z, average(-of_label(p).log()), row_shares() * (p - IS_LABEL.double()))


def null(z: Tensor) -> Tensor:
    return null_bce(z[:, :5], LABELS, ALLOWED[:, :5], WEIGHTS)


def relational(z: Tensor) -> Tensor:
    return class_relational_bce(z[:, :5], LABELS, ALLOWED[:, :5], RELATED, WEIGHTS)


def check_binary(loss: Loss, z: Tensor, targets: Tensor, counted: Tensor) -> None:
    q, y = sigmoid(z)[:, :5], targets.double()
    terms = -(y * q.log() + (1 - y) * (1 - q).log()) * counted
    gradient = torch.zeros(7, 6, dtype=torch.float64)
    gradient[:, :5] = row_shares() * (q - y) * counted
    check(loss, z, average(terms.sum(dim=1)), gradient)


def test_null_bce_looks_at_own_classes_alone() -> None:
    check_binary(null, logits_of(), IS_LABEL[:, :5], ALLOWED[:, :5])


def test_class_relational_bce_adds_related_classes_as_positives_alone() -> None:
    also = torch.zeros(7, 5, dtype=torch.bool)
    also[0, 3] = also[6, 3] = also[2, 2] = True  # rows of label 0, 1 and 4; label 3 says nothing of 0 and 1: asymmetric
    check_binary(relational, logits_of(), IS_LABEL[:, :5] | also, ALLOWED[:, :5] | also)


def test_class_relational_bce_without_relations_is_null_bce() -> None:
    z = logits_of()
    assert class_relational_bce(z[:, :5], LABELS, ALLOWED[:, :5], RELATED & False, WEIGHTS).item() == null(z).item()


def universal(z: Tensor) -> Tensor:
    return nll_plus(z, LABELS, MEMBERS, WEIGHTS)


def remapped(z: Tensor) -> Tensor:
    return remapped_cross_entropy(z, LABELS, MEMBERS, ALLOWED, WEIGHTS)


def known_of_rows() -> Tensor:
    """Universal classes that some label of the row's space has: all for space 0, all but 3 for space 1."""
    rows = [MEMBERS[allowed].any(dim=0) for allowed in ALLOWED]
    assert rows[2].tolist() == [True, True, True, False, True, True]
    return torch.stack(rows)


@pytest.mark.parametrize("loss", [universal, remapped])
def test_likelihood_of_a_set_of_universal_classes(loss: Loss) -> None:
    z = logits_of()
    p = softmax(z, torch.ones(7, 6) if loss is universal else known_of_rows())
    own = MEMBERS[LABELS]
    check(loss, z, average(-(p * own).sum(dim=1).log()), row_shares() * (p - softmax(z, own)))


def test_remapped_softmax_is_nll_plus_where_labels_cover_everything() -> None:
    z = logits_of()
    covering = MEMBERS.clone()
    covering[3, 3] = True
    one, other = nll_plus(z, LABELS, covering, WEIGHTS), remapped_cross_entropy(z, LABELS, covering, ALLOWED, WEIGHTS)
    assert one.item() == pytest.approx(other.item(), rel=1e-6)


def test_numbers_by_hand() -> None:
    z, one = torch.tensor([[0.0, math.log(3.0), 0.0]]), torch.ones(1)
    own = torch.tensor([[True, True, False]])
    # Sigmoids are 1/2, 3/4, 1/2; the last class is of the other space.
    assert null_bce(z, torch.tensor([1]), own, one).item() == pytest.approx(math.log(2) + math.log(4 / 3))
    assert null_bce(z, torch.tensor([3]), own, one).item() == pytest.approx(math.log(2) + math.log(4))
    related = torch.tensor([[False, False, False], [False, False, True], [False, False, False]])
    with_third = class_relational_bce(z, torch.tensor([1]), own, related, one).item()
    assert with_third == pytest.approx(2 * math.log(2) + math.log(4 / 3))
    # p is 1/5, 3/5, 1/5; a label of the first two has 4/5, one of the first and last 2/5.
    members = torch.tensor([[True, True, False], [True, False, True]])
    assert nll_plus(z, torch.tensor([0]), members, one).item() == pytest.approx(math.log(5 / 4))
    assert nll_plus(z, torch.tensor([1]), members, one).item() == pytest.approx(math.log(5 / 2))
    alone = torch.tensor([[True, False, False], [False, True, False]])  # no label has the last: 1/4 and 3/4
    both = torch.tensor([[True, True]])
    assert remapped_cross_entropy(z, torch.tensor([1]), alone, both, one).item() == pytest.approx(math.log(4 / 3))


ALL = [masked, selective, null, relational, universal, remapped]


@pytest.mark.parametrize("loss", ALL)
def test_half_precision_is_computed_in_float32(loss: Loss) -> None:
    z = logits_of(dtype=torch.bfloat16)
    assert loss(z).item() == loss(z.detach().float()).item()


@pytest.mark.parametrize("loss", ALL)
def test_large_logits_stay_finite(loss: Loss) -> None:
    z = (1e4 * logits_of().detach()).requires_grad_()
    loss(z).backward()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("rows", [0, 7])
def test_nothing_to_count_is_zero_with_a_gradient(rows: int) -> None:
    z = logits_of()
    empty, labels, spaces, weights = z[:rows], LABELS[:rows], SPACES[:rows], torch.zeros(rows)
    allowed = ALLOWED[:rows]
    losses = [
        masked_cross_entropy(empty, labels, allowed, weights),
        selective_cross_entropy(empty, labels, spaces, SPACE_OF_CLASS, weights),
        null_bce(empty[:, :5], labels, allowed[:, :5], weights),
        class_relational_bce(empty[:, :5], labels, allowed[:, :5], RELATED, weights),
        nll_plus(empty, labels, MEMBERS, weights),
        remapped_cross_entropy(empty, labels, MEMBERS, allowed, weights),
    ]
    assert [loss.item() for loss in losses] == [0.0] * 6
    torch.stack(losses).sum().backward()
    assert z.grad is not None
    assert not z.grad.any()
