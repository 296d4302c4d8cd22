"""Calibration: numbers by hand, recovered parameters, and the order that it must keep."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lat.labelling.calibration import Calibration, fit_calibration, pool_adjacent

FITTED = ("platt", "isotonic")


def fit(scores: object, hits: object, method: str) -> Calibration:
    return fit_calibration(torch.as_tensor(scores), torch.as_tensor(hits), method)


def simulated(n: int, slope: float, bias: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Raw scores, and hits whose probability is sigmoid(slope * logit(score) + bias)."""
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, generator=random, dtype=torch.float64) + 0.5
    hits = torch.rand(n, generator=random) < (slope * logits + bias).sigmoid()
    return logits.sigmoid().float(), hits


def test_temperature_and_bias_are_recovered() -> None:
    # Temperature 2, bias 0.7.
    calibration = fit(*simulated(20_000, 0.5, 0.7), "platt")
    low, high = calibration.logits
    assert (high - low) / 2 == pytest.approx(0.5, abs=0.02)
    assert (high + low) / 2 == pytest.approx(0.7, abs=0.04)
    assert calibration(torch.tensor([0.5])).item() == pytest.approx(1 / (1 + math.exp(-0.7)), abs=0.01)


def test_only_hits_move_the_bias_to_where_the_prior_holds_it() -> None:
    # All logits 0: the slope does nothing and stays at its prior 1. The bias has 10 * sigmoid(-b) = b, which is
    # b * (1 + exp(b)) = 10: 1.6335 * (1 + 5.1218) = 10.000.
    low, high = fit([0.5] * 10, [1] * 10, "platt").logits
    assert (high - low) / 2 == pytest.approx(1)
    bias = (high + low) / 2
    assert bias == pytest.approx(10 / (1 + math.exp(bias)), abs=1e-6)
    assert bias == pytest.approx(1.6335, abs=1e-4)


def test_adjacent_violators_are_pooled() -> None:
    # 3 and 2 join to 2.5, which 1 of weight 2 draws down to 7/4 = 1.75; 1.75 joins no 0.5 and no 4; equal values join.
    assert pool_adjacent(np.array([0.5, 3, 2, 1, 4, 4]), np.array([1.0, 1, 1, 2, 1, 1])).tolist() == [0, 1, 1, 1, 2, 2]
    assert pool_adjacent(np.array([3.0, 2, 1]), np.ones(3)).tolist() == [0, 0, 0]
    assert pool_adjacent(np.zeros(0), np.zeros(0)).tolist() == []


def test_isotonic_finds_a_curve_that_no_line_has() -> None:
    # A step: 20 % right below 0.5, 90 % above it, whatever the score.
    random = torch.Generator().manual_seed(0)
    scores = torch.rand(5000, generator=random)
    hits = torch.rand(5000, generator=random) < torch.where(scores < 0.5, 0.2, 0.9)
    calibrated = fit(scores, hits, "isotonic")(torch.tensor([0.1, 0.2, 0.4, 0.7, 0.8, 0.9]))
    assert calibrated.tolist() == pytest.approx([0.2, 0.2, 0.2, 0.9, 0.9, 0.9], abs=0.06)
    assert fit(scores, hits, "platt")(torch.tensor([0.4])) > 0.4


@pytest.mark.parametrize("method", FITTED)
def test_the_order_of_scores_is_kept(method: str) -> None:
    for slope, seed in ((0.2, 1), (1.0, 2), (3.0, 3)):
        calibration = fit(*simulated(300, slope, -0.5, seed), method)
        scores = torch.cat([torch.linspace(0.001, 0.998, 998), 1 - torch.logspace(-3, -6, 30)])
        assert (calibration(scores).diff() > 0).all()
        ends = calibration(torch.tensor([0.0, 1.0]))
        assert 0 < ends[0] < ends[1] < 1
        assert ends.dtype == torch.float32


@pytest.mark.parametrize("method", FITTED)
def test_scores_that_say_the_opposite_keep_their_order(method: str) -> None:
    calibration = fit(*simulated(400, -1.0, 0.0), method)
    low, high = calibration(torch.tensor([0.1, 0.9])).tolist()
    assert 0.3 < low < high < 0.7


@pytest.mark.parametrize("method", FITTED)
@pytest.mark.parametrize("hits", [[], [1], [0], [1] * 50, [0] * 50])
def test_few_or_one_sided_pairs_stay_inside(method: str, hits: list[int]) -> None:
    scores = [0.5 + 0.009 * i for i in range(len(hits))]
    probed = torch.tensor([0.3, 0.6, 0.9])
    calibrated = fit(torch.tensor(scores), torch.tensor(hits, dtype=torch.int64), method)(probed)
    assert (calibrated.diff() > 0).all()
    assert calibrated.min() > 0.001
    assert calibrated.max() < 0.999
    if not hits:
        torch.testing.assert_close(calibrated, probed)
    else:
        assert ((calibrated > probed) == bool(hits[0])).all()


@pytest.mark.parametrize("method", FITTED)
def test_equal_scores_become_their_share_of_hits(method: str) -> None:
    calibrated = fit([1.0] * 400, [1] * 300 + [0] * 100, method)(torch.tensor([1.0]))
    assert calibrated.item() == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("method", [*FITTED, "none"])
def test_there_and_back_through_json(method: str) -> None:
    scores, hits = simulated(200, 0.6, 0.3)
    calibration = fit(scores, hits, method)
    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict(), allow_nan=False)))
    assert again == calibration
    assert again(scores).equal(calibration(scores))


def test_none_changes_nothing() -> None:
    scores, hits = simulated(100, 0.3, 1.0)
    assert fit(scores, hits, "none")(scores).equal(scores)


def test_what_is_no_calibration_is_refused() -> None:
    for logits in ((1.0, 1.0), (2.0, 1.0), (0.0,), (0.0, math.nan)):
        with pytest.raises(ValueError, match="strictly increasing"):
            Calibration("platt", (-1.0, 1.0)[: len(logits)], logits)
