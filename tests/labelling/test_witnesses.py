"""Laws of parting a detector's errors from a person's by a third measurement."""

from __future__ import annotations

import pytest
import torch
from tables import row, table

from lat.core.label_space import LabelSpace
from lat.labelling.box_pairs import BoxPairs
from lat.labelling.witnesses import ALIKE, NOBODY, Witnessed, Witnesses

COUNT = 20_000


def errors(seed: int) -> torch.Tensor:
    return torch.randn(COUNT, 4, generator=torch.Generator().manual_seed(seed))


def seen(of_person: float, of_detector: float, of_witness: float) -> Witnessed:
    """Errors of these standard deviations; the share `ALIKE` of the variance of the detectors' errors is common to them."""
    common, own = errors(0) * ALIKE**0.5, (1 - ALIKE) ** 0.5
    detector = of_detector * (common + own * errors(1))
    witness = of_witness * (common + own * errors(2))
    return Witnessed(of_person * errors(3) - detector, witness - detector)


@pytest.mark.parametrize(("of_person", "of_detector", "share"), [(0.04, 0.03, 0.36), (0.03, 0.04, 0.64), (0.0, 0.05, 1.0)])
def test_the_detectors_share_is_found(of_person: float, of_detector: float, share: float) -> None:
    found = seen(of_person, of_detector, of_detector)
    assert found.detector_share.item() == pytest.approx(share, abs=0.02)


def test_wrong_pairs_do_not_decide() -> None:
    found = seen(0.04, 0.03, 0.03)
    found.human[:200], found.witness[:200] = 0.8, -0.8
    assert found.detector_share.item() == pytest.approx(0.36, abs=0.02)


def test_without_a_witness_both_err_alike_and_a_few_sides_decide_little() -> None:
    assert NOBODY.detector_share(torch.tensor(3.0)).item() == 0.5
    human = torch.full((10, 1), 0.05) * torch.tensor([[1.0, -1, 1, -1]])
    few = Witnessed(human, human * (1 - ALIKE))  # as if all were the detector's
    assert few.detector_share.item() == pytest.approx((40 * 1 + 50 * 0.5) / 90)


def test_sides_unknown_to_one_of_the_two_do_not_count() -> None:
    found = seen(0.04, 0.03, 0.03)
    found.human[:, 0], found.witness[:, 1] = float("nan"), float("nan")
    assert found.detector_share.item() == pytest.approx(0.36, abs=0.02)


def test_conventions_are_taken_off_and_only_boxes_that_both_overlap_count() -> None:
    space = LabelSpace.from_names("any", ["one", "two"])
    images = range(1, 8)
    detected = table([row(i, 0, [100.0, 100, 140, 140]) for i in range(7)], images, space)
    human = table([row(i, 1, [104.0 + i % 2, 100, 140, 140]) for i in range(7)], images, space)
    witness = table([row(i, 0, [100.0, 96, 140, 140]) for i in range(6)], images, space)
    to_human, to_witness = BoxPairs.of_three(detected, human, witness)
    assert to_human.second.tolist() == [1] * 6
    torch.testing.assert_close(to_human.offsets[:, 0], torch.tensor([4.0, 5, 4, 5, 4, 5]) / 40)
    torch.testing.assert_close(to_witness.offsets[:, 1], torch.full((6,), -0.1))
    found = Witnessed.of_pairs([(to_human, to_witness)])
    torch.testing.assert_close(found.human[:, 0].abs().sum(), torch.tensor(3 / 40))  # less the median
    assert not found.witness.any()
    few = Witnessed.of_pairs([BoxPairs.of_three(*(one.select(torch.arange(4).numpy()) for one in (detected, human, witness)))])
    assert few.human.isnan().all()  # four pairs tell no convention


def test_witnesses_on_the_sources_images_decide_alone_and_others_half() -> None:
    abroad, at_home, nobody = seen(0.04, 0.03, 0.03), seen(0.03, 0.04, 0.04), NOBODY.abroad
    usual = torch.tensor(2.0)
    assert Witnesses(abroad, at_home).detector_share(usual).item() == pytest.approx(2 * 0.36, abs=0.04)
    assert Witnesses(nobody, at_home).detector_share(usual).item() == pytest.approx((0.64 + 0.5) / 2, abs=0.02)
