"""Confusions contradict each other, and class shares do not: numbers worked out by hand."""

from __future__ import annotations

import torch

from lat.core.label_space import LabelSpace
from lat.labelling.class_shares import ClassShares
from lat.labelling.consistent_shares import make_consistent

Pairs = dict[tuple[str, str], torch.Tensor]


def shares(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)


def consistent(pairs: Pairs, boxes: dict[str, list[int]]) -> Pairs:
    """What becomes of shares by the names of their spaces, whose classes have these numbers of boxes."""
    spaces = {name: LabelSpace.from_names(name, [f"{name}{k}" for k in range(len(counts))]) for name, counts in boxes.items()}
    learnt = [ClassShares(spaces[source], spaces[target], each, "learnt") for (source, target), each in pairs.items()]
    found = make_consistent(learnt, {name: torch.tensor(counts) for name, counts in boxes.items()})
    assert {one.found_by for one in found} == {"consistent"}
    return {(one.source.name, one.target.name): one.shares for one in found}


def made_consistent(
    there: torch.Tensor, back: torch.Tensor, boxes: tuple[list[int], list[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for two spaces."""
    found = consistent({("a", "b"): there, ("b", "a"): back}, {"a": boxes[0], "b": boxes[1]})
    return found["a", "b"], found["b", "a"]


def test_two_that_look_alike_are_told_apart() -> None:
    # bus and truck of either space; a tenth of the buses is background
    there, back = shares([0.63, 0.27, 0.1], [0.2, 0.8, 0.0]), shares([0.8, 0.2, 0.0], [0.3, 0.7, 0.0])
    # of bus 0.7 and 0.3; by the other direction, as many boxes of each, 0.8 and 0.3 of 1.1: strengths 0.714 and 0.286
    found, found_back = made_consistent(there, back, ([10, 10], [10, 10]))
    # a tenth of 0.27 is left, 0.027 beside 0.63, and both together are 0.9 again
    torch.testing.assert_close(found[0], torch.tensor([0.9 * 0.63 / 0.657, 0.9 * 0.027 / 0.657, 0.1]))
    torch.testing.assert_close(found_back[0], torch.tensor([0.8 / 0.82, 0.02 / 0.82, 0.0]))
    for each in (found, found_back):
        torch.testing.assert_close(each.sum(dim=1), torch.ones(2))


def test_broad_and_narrow_classes_stay_as_they_are() -> None:
    # person is adult or child, seldom child; both are person, and sign is none of them
    there, back = shares([0.9, 0.1, 0.0], [0.0, 0.0, 1.0]), shares([1.0, 0.0, 0.0], [1.0, 0.0, 0.0])
    found, found_back = made_consistent(there, back, ([100, 10], [90, 10]))
    torch.testing.assert_close(found, there)
    torch.testing.assert_close(found_back, back)


def test_a_broad_class_is_not_weaker_for_being_broad() -> None:
    # a motorcycle seems to be a cyclist as often as a vehicle; of the many vehicles few are motorcycles, of the few cyclists many
    there, back = shares([1.0, 0.0, 0.0], [0.5, 0.5, 0.0]), shares([0.95, 0.05, 0.0], [0.0, 1.0, 0.0])
    found, _ = made_consistent(there, back, ([950, 50], [1000, 50]))
    # by the other direction 1000 * 0.05 and 50 * 1 motorcycles: neither is more of one than of the other
    torch.testing.assert_close(found[1], there[1])


def test_a_tie_that_is_nearly_as_strong_for_one_of_its_classes_stays() -> None:
    # of 1,000 buses 900 are buses in the other space, of 1,000 trucks 520 are trucks: 480 are more than four fifths of them
    objects = shares([900.0, 100.0], [480.0, 520.0])
    nothing = torch.zeros(2, 1)
    there = torch.cat([objects / 1000, nothing], dim=1)
    back = torch.cat([objects.T / torch.tensor([[1380.0], [620.0]]), nothing], dim=1)
    found, _ = made_consistent(there, back, ([1000, 1000], [1380, 620]))
    torch.testing.assert_close(found[1], there[1])
    assert found[0, 1] < 0.02  # a bus is no truck: both have a better partner


def test_a_third_space_decides_what_two_leave_open() -> None:
    equal, doubtful = shares([0.95, 0.05, 0.0], [0.05, 0.95, 0.0]), shares([0.55, 0.45, 0.0], [0.45, 0.55, 0.0])
    pairs: Pairs = {("a", "b"): doubtful, ("b", "a"): doubtful}
    boxes = {name: [10, 10] for name in "abc"}
    torch.testing.assert_close(consistent(pairs, {name: boxes[name] for name in "ab"})["a", "b"], doubtful)
    found = consistent({**pairs, ("a", "c"): equal, ("c", "a"): equal, ("b", "c"): equal, ("c", "b"): equal}, boxes)
    # through c, where 0.005 of 0.955 is left in the wrong place, a weak tie is about 0.23 of 0.77: a tenth of 0.45 is left
    for pair in pairs:
        torch.testing.assert_close(found[pair].diagonal(), torch.full((2,), 0.55 / 0.595))


def test_a_class_without_boxes_or_partners_does_no_harm() -> None:
    there, back = shares([0.0, 0.0, 1.0], [0.3, 0.3, 0.4]), shares([0.0, 0.0, 1.0], [0.0, 0.0, 1.0])
    for each, before in zip(made_consistent(there, back, ([0, 3], [0, 0])), (there, back), strict=True):
        torch.testing.assert_close(each, before)
