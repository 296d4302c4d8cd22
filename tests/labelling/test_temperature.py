"""Temperature scaling: closed forms, and a known temperature found again."""

from __future__ import annotations

from math import log

import pytest
import torch

from lat.labelling.temperature import Temperature, fit_temperature


def test_scaling_by_hand() -> None:
    # Shares 0.64, 0.32 and 0.04 of background at T = 2: square roots 0.8, 0.566, 0.2, of sum 1.566.
    class_scores = torch.tensor([[0.64, 0.32], [0.64, 0.32]])
    labels, scores = torch.tensor([0, 1]), torch.tensor([0.64, 0.32])
    scaled = Temperature(2.0, is_softmax=True)(scores, labels, class_scores)
    assert scaled.tolist() == pytest.approx([0.8 / 1.565685, 0.565685 / 1.565685])
    # By itself the logit is divided: odds 0.64 / 0.36 become their root, 4 / 3.
    assert Temperature(2.0)(scores, labels, None)[0].item() == pytest.approx(4 / 7)
    torch.testing.assert_close(Temperature(1.0, is_softmax=True)(scores, labels, class_scores), scores)


def test_softmax_scaling_changes_which_of_two_boxes_comes_first() -> None:
    # Of equal scores, the one with a single rival stays higher than the one with many.
    class_scores = torch.tensor([[0.6, 0.4, 0.0, 0.0], [0.6, 0.1, 0.1, 0.2]])
    one, many = Temperature(2.0, is_softmax=True)(torch.full((2,), 0.6), torch.zeros(2, dtype=torch.int64), class_scores)
    assert one > many
    alone = Temperature(2.0)(torch.tensor([0.6, 0.61]), torch.zeros(2, dtype=torch.int64), None)
    assert alone[0] < alone[1]


@pytest.mark.parametrize("known", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found_again(known: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20000, 5, generator=generator, dtype=torch.float64)
    truth = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    shares = (known * logits).softmax(dim=1).float()[:, :4]  # what a detector says that is too sure, or not sure enough
    scores, labels = shares.max(dim=1)
    fitted = fit_temperature(scores, labels, shares, truth)
    assert fitted.is_softmax
    assert fitted.value == pytest.approx(known, rel=0.05)


@pytest.mark.parametrize("known", [0.5, 3.0])
def test_sigmoids_are_fitted_by_themselves(known: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20000, generator=generator)
    right = torch.rand(20000, generator=generator) < logits.sigmoid()
    scores = (known * logits).sigmoid()
    labels = torch.zeros(20000, dtype=torch.int64)
    class_scores = torch.stack([scores, torch.full_like(scores, 0.9)], dim=1)  # rows add up to more than 1
    fitted = fit_temperature(scores, labels, class_scores, torch.where(right, 0, 2))
    assert not fitted.is_softmax
    assert fitted.value == pytest.approx(known, rel=0.1)


def test_few_boxes_move_it_part_of_the_way() -> None:
    none = torch.zeros(0)
    assert fit_temperature(none, none.long(), torch.zeros(0, 3), none.long()).value == pytest.approx(1.0)
    scores, labels = torch.full((9,), 0.9), torch.zeros(9, dtype=torch.int64)
    # All right: the slope is 9 log(9) (1 - p) - (1 / T - 1), where p is the scaled score.
    fitted = fit_temperature(scores, labels, None, labels)
    p = fitted(scores[:1], labels[:1], None).item()
    assert 9 * log(9) * (1 - p) == pytest.approx(1 / fitted.value - 1, rel=1e-4)
    assert 1 / 3 < fitted.value < 1
    assert fit_temperature(scores, labels, None, labels + 1).value == pytest.approx(64), "all wrong"
