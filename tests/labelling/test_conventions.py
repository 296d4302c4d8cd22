"""Laws of the comparison of box conventions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from tables import row, table
from torch import Tensor

from lat.core.label_space import LabelSpace
from lat.labelling.box_pairs import BoxPairs, ClassPairSummaries, OffsetSummary
from lat.labelling.conventions import MIN_SPREAD, BoxConventions
from lat.labelling.estimate_conventions import AVERAGED, FOREIGN_BIAS, estimate_conventions, measure_offsets
from lat.labelling.witnesses import ALIKE, Witnessed, Witnesses
from lat.labels.table import LabelTable

SIZE_HW = (400, 400)
SPACE = LabelSpace.from_names("any", ["one", "two"])
LOOSE = torch.tensor([-0.1, -0.2, 0.1, 0.3])  # the second protocol's sides, as shares of the first's width and height


def boxes(*images: Tensor, labels: Sequence[int] = ()) -> LabelTable:
    """A table of images of `SIZE_HW` with these boxes (N, 4) and, in the order of all boxes, classes; 0 if none are given."""
    places = [(image, xyxy) for image, each in enumerate(images) for xyxy in each.tolist()]
    classes = labels or [0] * len(places)
    rows = [row(image, label, xyxy) for (image, xyxy), label in zip(places, classes, strict=True)]
    return replace(table(rows, range(1, len(images) + 1), SPACE), sizes_hw=np.array([SIZE_HW] * len(images), dtype=np.int32))


def sizes(count: int) -> Tensor:
    return torch.tensor(SIZE_HW).expand(count, 2)


def drawn(count: int, seed: int) -> Tensor:
    """Boxes (N, 4) of 20 to 40 pixels, 45 apart, away from the border."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.stack([20.0 + 90 * (torch.arange(count) % 4), 20.0 + 90 * (torch.arange(count) // 4 % 4)], dim=1)
    return torch.cat([corners, corners + 20 + 20 * torch.rand(count, 2, generator=generator)], dim=1)


def moved(xyxy: Tensor, offsets: Tensor) -> Tensor:
    return xyxy + offsets * (xyxy[:, 2:] - xyxy[:, :2]).repeat(1, 2)


def pairs_of(offsets: Tensor, noise: float, count: int, seed: int) -> BoxPairs:
    """Pairs of class 0 that differ by `offsets` and normal noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(count, dtype=torch.int64)
    return BoxPairs(labels, labels, offsets + noise * torch.randn(count, 4, generator=generator))


def telling(share: float) -> Witnesses:
    """A witness who tells that this share of the variance on the source's images is the detector's."""
    human = 0.05 * torch.randn(20_000, 4, generator=torch.Generator().manual_seed(9))
    return Witnesses(Witnessed(human, share * (1 - ALIKE) * human), Witnessed.joined([]))


def nothing() -> BoxPairs:
    """No pairs."""
    return BoxPairs.joined([])


def test_offsets_are_shares_of_the_first_box_and_unknown_at_the_border() -> None:
    first = boxes(torch.tensor([[100, 100, 140, 120], [0, 200, 50, 250]]))
    second = boxes(torch.tensor([[96, 98, 148, 122], [0, 195, 60, 250]]), labels=[1, 0])
    pairs = BoxPairs.of_tables(first, second)
    assert pairs.first.tolist() == [0, 0]
    assert pairs.second.tolist() == [1, 0]
    torch.testing.assert_close(pairs.offsets[0], torch.tensor([-0.1, -0.1, 0.2, 0.1]))
    assert pairs.offsets[1].isnan().tolist() == [True, False, False, False]
    torch.testing.assert_close(pairs.offsets[1, 1:], torch.tensor([-0.1, 0.2, 0.0]))


def test_a_pair_is_each_others_best_and_overlaps_enough() -> None:
    first = boxes(torch.tensor([[100, 100, 200, 200], [100, 100, 200, 190]]))
    second = boxes(torch.tensor([[100, 100, 200, 195], [300, 300, 350, 350]]))
    pairs = BoxPairs.of_tables(first, second)
    assert len(pairs.first) == 1
    torch.testing.assert_close(pairs.offsets[0], torch.tensor([0.0, 0.0, 0.0, -0.05]))


def test_boxes_of_different_images_are_no_pair() -> None:
    one, other = torch.tensor([[100, 100, 200, 200]]), torch.tensor([[100, 100, 200, 210]])
    none = torch.zeros(0, 4)
    assert len(BoxPairs.of_tables(boxes(one, none), boxes(none, other)).first) == 0
    pairs = BoxPairs.of_tables(boxes(one, none, one), boxes(other, other, one))
    torch.testing.assert_close(pairs.offsets, torch.tensor([[0.0, 0, 0, 0.1], [0, 0, 0, 0]]))


def test_images_without_boxes_have_no_pairs() -> None:
    together = BoxPairs.joined([BoxPairs.of_tables(boxes(torch.zeros(0, 4)), boxes(drawn(3, 0)))])
    assert together.offsets.shape == (0, 4)
    known = estimate_conventions(together, together, together, 2, 2)
    assert known.human_variance.isinf().all()
    one = torch.tensor([[10.0, 10, 20, 20]])
    assert not known.human_share(one, one, torch.tensor([0]), torch.tensor([1])).any()


def test_what_the_detector_does_wrong_is_no_convention() -> None:
    shrink = torch.tensor([0.04, 0.04, -0.04, -0.04])  # what the detector does to every box
    on_source, held_out = pairs_of(LOOSE + shrink, 0.03, 400, 0), pairs_of(-shrink, 0.03, 400, 1)
    known = estimate_conventions(on_source, pairs_of(LOOSE, 0.03, 400, 2), held_out, 1, 1)
    torch.testing.assert_close(known.offsets[0, 0], LOOSE, atol=0.01, rtol=0)
    torch.testing.assert_close(known.detector_bias[0], shrink, atol=0.01, rtol=0)


def test_a_difference_that_only_one_detector_sees_is_its_bias_on_foreign_images() -> None:
    # On its own held-out images the detector is right. On the source's it is off by 0.04, up or down; seen from the target's
    # images the two protocols do not differ.
    bias, classes = torch.tensor([0.04, -0.04, 0.04, -0.04]), 9

    def of_each(offsets: Tensor) -> BoxPairs:
        parts = [pairs_of(offsets, 0.02, 500, seed) for seed in range(classes)]
        return BoxPairs.joined(BoxPairs(part.first + i, part.second + i, part.offsets) for i, part in enumerate(parts))

    exact = of_each(torch.zeros(4))
    known = estimate_conventions(of_each(bias), exact, exact, classes, classes)
    assert known.offsets.abs().max() < 0.01
    torch.testing.assert_close(known.detector_bias[0], bias, atol=0.01, rtol=0)
    boxes_xyxy, zero = torch.tensor([[104.0, 96, 204, 196]]), torch.tensor([0])
    rid_of_it = known.unbiased(boxes_xyxy, zero, sizes(1))
    torch.testing.assert_close(rid_of_it, torch.tensor([[100.0, 100, 200, 200]]), atol=1.0, rtol=0)


def test_a_difference_that_both_detectors_see_is_the_protocols() -> None:
    difference = torch.tensor([0.08, -0.08, 0.08, -0.08])
    exact = pairs_of(torch.zeros(4), 0.02, 2000, 1)
    known = estimate_conventions(pairs_of(difference, 0.02, 2000, 0), pairs_of(difference, 0.02, 2000, 2), exact, 1, 1)
    assert ((known.offsets[0, 0] / difference) > 0.9).all()
    # Seen once, it may be the detector's bias, of about FOREIGN_BIAS: a share of 1 - (0.03^2 / 0.08^2)^2 remains, twice.
    once = estimate_conventions(pairs_of(difference, 0.02, 2000, 0), nothing(), exact, 1, 1)
    torch.testing.assert_close(once.offsets[0, 0], difference * (1 - (FOREIGN_BIAS / 0.08) ** 4) ** 2, atol=0.004, rtol=0)


def test_a_side_seen_a_few_times_is_unknown_whatever_is_known_of_the_others() -> None:
    pairs = pairs_of(LOOSE, 0.03, 400, 0)
    cut = pairs.offsets.clone()
    cut[4:, 0] = float("nan")  # all but four boxes begin at the image's border
    seen = replace(pairs, offsets=cut)
    known = estimate_conventions(seen, seen, pairs_of(torch.zeros(4), 0.03, 400, 1), 1, 1, telling(1.0))
    assert known.human_variance[0, 0].isinf().tolist() == [True, False, False, False]
    assert known.offsets[0, 0, 0] == 0
    assert known.exceptions[0, 0, 0] == 0
    torch.testing.assert_close(known.offsets[0, 0, 1:], LOOSE[1:], atol=0.01, rtol=0)
    zero = torch.tensor([0])
    assert known.human_share(BOX, BOX, zero, zero)[0].gt(0.5).tolist() == [False, True, True, True]


def test_differences_that_may_be_chance_are_none() -> None:
    by_chance = [pairs_of(torch.zeros(4), 0.05, 60, seed) for seed in range(3)]
    known = estimate_conventions(*by_chance, 1, 1)
    assert known.offsets.abs().max() < 0.004
    exact, labels = drawn(5, 0), torch.zeros(5, dtype=torch.int64)
    assert (known.moved(exact, labels, labels, sizes(5)) - exact).abs().max() < 0.2


def test_a_few_pairs_of_a_class_are_believed_where_conventions_are_known_to_differ() -> None:
    few = pairs_of(LOOSE, 0.03, 12, 2)
    many = pairs_of(-LOOSE, 0.03, 300, 3)
    both = BoxPairs.joined([few, BoxPairs(many.first + 1, many.second, many.offsets)])
    known = estimate_conventions(both, both, pairs_of(torch.zeros(4), 0.03, 300, 4), 2, 1)
    torch.testing.assert_close(known.offsets[0, 0], LOOSE, atol=0.03, rtol=0)


BOX = torch.tensor([[100.0, 100, 200, 200]])
ZERO = torch.tensor([0])


def test_variance_beyond_the_detectors_is_the_persons() -> None:
    # Pairs scatter by 0.03 on held-out images and by 0.05 on the source's; of the latter 0.36 is the detector's.
    on_source, held_out = pairs_of(LOOSE, 0.05, 20_000, 0), pairs_of(torch.zeros(4), 0.03, 20_000, 1)
    known = estimate_conventions(on_source, on_source, held_out, 1, 1, telling(0.36))
    torch.testing.assert_close(known.detector_variance[0], torch.full((4,), AVERAGED * 0.03**2), atol=1e-4, rtol=0)
    torch.testing.assert_close(known.human_variance[0, 0], torch.full((4,), 0.05**2 - 0.03**2), atol=2e-4, rtol=0)


def test_a_witness_parts_what_person_and_detector_err_by() -> None:
    # Both datasets' annotators scatter by 0.04, the detector by 0.03: pairs scatter by 0.05 everywhere, and 0.36 = 0.6^2 of their
    # variance is the detector's.
    seen = [pairs_of(torch.zeros(4), 0.05, 20_000, seed) for seed in range(3)]
    parted = estimate_conventions(*seen, 1, 1, telling(0.36))
    torch.testing.assert_close(parted.detector_variance[0], torch.full((4,), AVERAGED * 0.03**2), atol=1e-4, rtol=0)
    torch.testing.assert_close(parted.human_variance[0, 0], torch.full((4,), 0.04**2), atol=1e-4, rtol=0)
    share = parted.human_share(BOX, BOX, ZERO, ZERO)[0]  # 0.00045 / (0.00045 + 0.0016)
    torch.testing.assert_close(share, torch.full((4,), 0.22), atol=0.03, rtol=0)
    exact = estimate_conventions(*seen, 1, 1, telling(1.0))
    assert (exact.human_share(BOX, BOX, ZERO, ZERO) > 0.8).all()


def test_a_detector_that_errs_more_abroad_is_trusted_less_there() -> None:
    # At home pairs scatter by 0.05, abroad by 0.1; half of each is the detector's.
    on_source, held_out = (pairs_of(torch.zeros(4), noise, 20_000, seed) for seed, noise in enumerate((0.1, 0.05)))
    parted = estimate_conventions(on_source, on_source, held_out, 1, 1, telling(0.5))
    torch.testing.assert_close(parted.detector_variance[0], torch.full((4,), AVERAGED * 0.1**2 / 2), atol=2e-4, rtol=0)
    torch.testing.assert_close(parted.human_variance[0, 0], torch.full((4,), 0.1**2 / 2), atol=4e-4, rtol=0)


def test_boxes_as_exact_as_can_be_decide_nearly_alone() -> None:
    held_out = pairs_of(torch.zeros(4), 0.04, 5000, 1)
    seen = [pairs_of(LOOSE, 0.04, 5000, seed) for seed in (0, 2)]
    known = estimate_conventions(*seen, held_out, 1, 1, telling(1.0))
    share = known.human_share(BOX, BOX, ZERO, ZERO)
    assert (share > 0.75).all()
    assert (share <= 1 / (1 + MIN_SPREAD**2 / (AVERAGED * 0.05**2))).all()


def test_scatter_that_differs_between_classes_by_chance_is_that_of_all() -> None:
    # Nine classes scatter as the detector does; of each only 30 pairs are seen, whose variances differ by a factor of three.
    parts = [pairs_of(torch.zeros(4), 0.04, 30, seed) for seed in range(9)]
    pairs = BoxPairs.joined(BoxPairs(part.first + i, part.second, part.offsets) for i, part in enumerate(parts))
    known = estimate_conventions(pairs, pairs, pairs_of(torch.zeros(4), 0.04, 2000, 20), 9, 1, telling(1.0))
    assert known.human_variance.max() < 0.02**2


def test_sides_that_follow_no_convention_are_left_to_the_model() -> None:
    following, hidden = pairs_of(torch.zeros(4), 0.03, 400, 0), pairs_of(torch.tensor([0.0, 0, 0, -0.4]), 0.03, 100, 1)
    pairs = BoxPairs.joined([following, hidden])
    known = estimate_conventions(pairs, pairs, pairs_of(torch.zeros(4), 0.03, 400, 2), 1, 1, telling(1.0))
    torch.testing.assert_close(known.exceptions[0, 0], torch.tensor([0.0, 0, 0, 0.2]), atol=0.03, rtol=0)
    drawn = torch.tensor([[100.0, 100, 200, 160]])  # the model ends the box 0.4 of its height above the human box's
    share = known.human_share(BOX, drawn, ZERO, ZERO)[0]
    assert (share[:3] > 0.6).all()
    assert share[3] < 0.01
    near = known.human_share(BOX, BOX - torch.tensor([0.0, 0, 0, 2.0]), ZERO, ZERO)[0]
    assert near[3] > 0.3


def test_moved_boxes_follow_the_convention_and_stay_at_the_border() -> None:
    none = torch.zeros(1, 1, 4)
    known = BoxConventions(LOOSE.expand(1, 1, 4).clone(), none, torch.ones(1, 4), torch.zeros(1, 4), none)
    zero = torch.zeros(2, dtype=torch.int64)
    result = known.moved(
        torch.tensor([[100.0, 100.0, 140.0, 120.0], [0.0, 380.0, 20.0, 400.0]]),
        zero,
        zero,
        torch.tensor(SIZE_HW).expand(len(zero), 2),
    )
    torch.testing.assert_close(result, torch.tensor([[96.0, 96.0, 144.0, 126.0], [0.0, 376.0, 22.0, 400.0]]))


def test_two_protocols_are_told_apart_from_whole_images() -> None:
    truth, seen = drawn(16, 0), drawn(16, 1)
    noise = 0.4 * torch.randn(16, 4, generator=torch.Generator().manual_seed(3))
    on_source = BoxPairs.of_tables(boxes(truth), boxes(moved(truth, LOOSE) + noise))
    on_target = BoxPairs.of_tables(boxes(moved(seen, LOOSE.neg() / (1 + LOOSE[2:].repeat(2) - LOOSE[:2].repeat(2)))), boxes(seen))
    held_out = BoxPairs.of_tables(boxes(seen + noise), boxes(seen))
    known = estimate_conventions(on_source, on_target, held_out, 2, 2)
    zero = torch.zeros(16, dtype=torch.int64)
    result = known.moved(truth, zero, zero, sizes(16))
    assert (result - moved(truth, LOOSE)).abs().max() < 1.0  # of boxes that the protocol moves by up to 12 pixels
    assert known.human_variance[1].isinf().all()  # no box of the second class was seen


def test_only_pairs_of_classes_that_occur_are_summarised_and_as_one_at_a_time() -> None:
    generator = torch.Generator().manual_seed(0)
    offsets = torch.randn(200, 4, generator=generator).masked_fill(torch.rand(200, 4, generator=generator) < 0.2, float("nan"))
    first, second = torch.randint(0, 3, (200,), generator=generator), torch.randint(0, 4, (200,), generator=generator)
    second[first == 1] = 2
    pairs = BoxPairs(first, second, offsets)
    found = ClassPairSummaries.of(pairs, 3, 5)
    assert found.occurring.keys() == {*((s, t) for s in (0, 2) for t in range(4)), (1, 2)}
    for s in range(3):
        for t in range(5):
            one = OffsetSummary.of(pairs, s, t)
            for name in ("median", "variance", "count", "squared_error"):
                assert torch.equal(getattr(found, name)[s, t], getattr(one, name))
                assert getattr(found, name).dtype == getattr(one, name).dtype


def test_what_is_measured_is_told_with_its_error_and_shrunk_only_for_transfer() -> None:
    seen = pairs_of(LOOSE, 0.0, 25, seed=0)
    pairs = (seen, seen, pairs_of(torch.zeros(4), 0.0, 25, seed=1), 1, 2)
    measured = measure_offsets(*pairs)
    torch.testing.assert_close(measured.offsets[0, 0], LOOSE)
    assert measured.known[0].all(dim=1).tolist() == [True, False]
    assert measured.squared_errors[0, 1].isinf().all()
    bias = FOREIGN_BIAS**2 * 20 / 24  # four offsets measured twice agree, and twenty more are expected not to
    assert ((measured.squared_errors[0, 0] / bias - 1).abs() < 0.05).all()
    assert torch.equal(measured.as_far_as_certain(), estimate_conventions(*pairs).offsets)
    assert (measured.as_far_as_certain()[0, 0].abs() < LOOSE.abs()).all()
