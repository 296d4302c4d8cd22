"""Confusions contradict themselves, and relations do not: numbers worked out by hand."""

from __future__ import annotations

import torch

from lat.pseudo.consistency import consistent_shares


def shares(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)


def both_ways(there: torch.Tensor, back: torch.Tensor) -> dict[tuple[str, str], torch.Tensor]:
    return {("a", "b"): there, ("b", "a"): back}


def test_two_that_look_alike_are_told_apart() -> None:
    # bus and truck of either space; a tenth of the buses is background
    there, back = shares([0.7, 0.2, 0.1], [0.2, 0.8, 0.0]), shares([0.8, 0.2, 0.0], [0.2, 0.8, 0.0])
    # strengths of the right ties 0.789 and 0.8, of the others 0.211 and 0.2: these are damped to a tenth, twice
    found = consistent_shares(both_ways(there, back))
    weak = 0.2 / 0.7 / 100
    torch.testing.assert_close(found["a", "b"][0], torch.tensor([0.9 / (1 + weak), 0.9 * weak / (1 + weak), 0.1]))
    torch.testing.assert_close(found["b", "a"][0], torch.tensor([1 / 1.0025, 0.0025 / 1.0025, 0.0]))
    for each in found.values():
        torch.testing.assert_close(each.sum(dim=1), torch.ones(2))


def test_a_tie_that_is_half_as_strong_for_one_of_its_classes_stays() -> None:
    # a truck is a bus as often as a truck in the other space: 0.475 and 0.525, which is no confusion for either of its classes
    there, back = shares([0.95, 0.05, 0.0], [0.45, 0.55, 0.0]), shares([0.5, 0.5, 0.0], [0.5, 0.5, 0.0])
    found = consistent_shares(both_ways(there, back))
    torch.testing.assert_close(found["a", "b"][1], there[1])


def test_broad_and_narrow_classes_stay_as_they_are() -> None:
    # person is adult or child, seldom child; both are person, and sign is none of them
    there, back = shares([0.9, 0.1, 0.0], [0.0, 0.0, 1.0]), shares([1.0, 0.0, 0.0], [1.0, 0.0, 0.0])
    found = consistent_shares(both_ways(there, back))
    torch.testing.assert_close(found["a", "b"], there)
    torch.testing.assert_close(found["b", "a"], back)


def test_a_third_space_decides_what_two_leave_open() -> None:
    equal, doubtful = shares([0.95, 0.05, 0.0], [0.05, 0.95, 0.0]), shares([0.55, 0.45, 0.0], [0.45, 0.55, 0.0])
    pairs = {("a", "b"): doubtful, ("b", "a"): doubtful}
    alone = consistent_shares(pairs)
    torch.testing.assert_close(alone["a", "b"], doubtful)
    others = {("a", "c"): equal, ("c", "a"): equal, ("b", "c"): equal, ("c", "b"): equal}
    found = consistent_shares({**pairs, **others})
    # the way through c, 0.999 in the right place, makes the weak tie 0.225 against 0.775
    for pair in pairs:
        assert found[pair].diagonal().min() > 0.9


def test_a_class_without_boxes_or_partners_does_no_harm() -> None:
    there, back = shares([0.0, 0.0, 1.0], [0.3, 0.3, 0.4]), shares([0.0, 0.0, 1.0], [0.0, 0.0, 1.0])
    for each, before in zip(consistent_shares(both_ways(there, back)).values(), (there, back), strict=True):
        torch.testing.assert_close(each, before)
