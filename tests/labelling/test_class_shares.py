"""Laws of class shares and of the ways to estimate them; numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from known_evidence import SOURCE, TARGET, KnownEvidence, class_shares
from tables import row, table

from lat.labelling.class_shares import (
    ESTIMATORS,
    ClassShares,
    Evidence,
    count_pairs,
    counted,
    shares_of_counts,
    without_counterpart,
)
from lat.labelling.labelling_settings import PRIORS
from lat.relations.relation_matrix import RelationMatrix


def test_pairs_counted_by_hand() -> None:
    detected = table(
        [row(0, 0, (0, 0, 10, 10)), row(0, 0, (20, 20, 30, 30)), row(0, 1, (50, 50, 60, 60)), row(1, 1, (0, 0, 10, 10))],
        space=SOURCE,
    )
    ground_truth = table([row(0, 1, (0, 0, 10, 9)), row(0, 0, (20, 20, 30, 24)), row(1, 0, (0, 0, 10, 10))], space=TARGET)
    # the first lies on the truck (IoU 0.9), the second overlaps the bus by 0.4 only, one dog lies on nothing, one on a bus
    assert count_pairs(detected, ground_truth).tolist() == [[0, 1, 1], [1, 0, 1]]


def test_counts_without_boxes() -> None:
    nothing, none = table([], space=SOURCE), table([], space=TARGET)
    assert count_pairs(nothing, none).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert count_pairs(table([row(0, 1, (0, 0, 10, 10))], space=SOURCE), none).tolist() == [[0, 0, 0], [0, 0, 1]]


def test_shares_of_counts_by_hand() -> None:
    # all classes: 6, 2, 2 of 10; a class with counts adds one box of that mixture, one without has the mixture itself
    shares = shares_of_counts(torch.tensor([[6.0, 2.0, 2.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(shares, torch.tensor([[6.6 / 11, 2.2 / 11, 2.2 / 11], [0.6, 0.2, 0.2]]))
    torch.testing.assert_close(shares_of_counts(torch.zeros(1, 2)), torch.tensor([[0.5, 0.5]]))


def test_there_is_an_estimator_for_every_method_of_the_settings() -> None:
    assert (*ESTIMATORS, "none") == PRIORS


@pytest.mark.parametrize("method", ESTIMATORS)
def test_every_estimator_says_how_it_found_its_shares(method: str) -> None:
    even = torch.full((2, 3), 0.5)
    saved = {name: ClassShares(SOURCE, TARGET, torch.full((2, 3), 1 / 3), name) for name in ("learnt", "consistent")}
    evidence: Evidence = KnownEvidence(matrix=RelationMatrix(SOURCE, TARGET, even, even), saved=saved)
    shares = ESTIMATORS[method](evidence)
    assert (shares.source, shares.target, shares.found_by) == (SOURCE, TARGET, method)
    torch.testing.assert_close(shares.shares.sum(dim=1), torch.ones(2))


def test_counted_shares_are_of_the_targets_images_and_cooccurrence_of_the_sources() -> None:
    on_target, on_source = torch.tensor([[8.0, 1.0, 1.0], [0.0, 0.0, 2.0]]), torch.tensor([[3.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    evidence = KnownEvidence(counts_on_target=on_target, counts_on_source=on_source)
    assert torch.equal(counted(evidence).shares, shares_of_counts(on_target))
    assert torch.equal(ESTIMATORS["cooccurrence"](evidence).shares, shares_of_counts(on_source))


def test_a_table_overrides_the_counted_shares_of_the_classes_that_it_names() -> None:
    on_target = torch.tensor([[8.0, 1.0, 1.0], [0.0, 0.0, 2.0]])
    evidence = KnownEvidence(counts_on_target=on_target, table={1: torch.tensor([0.25, 0.25, 0.5])})
    shares = ESTIMATORS["table"](evidence).shares
    assert torch.equal(shares[0], counted(evidence).shares[0])
    assert shares[1].tolist() == [0.25, 0.25, 0.5]


def test_relations_give_the_shares_of_the_source_whichever_side_it_is() -> None:
    forward, backward = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), torch.tensor([[0.5, 0.0, 0.5], [0.0, 0.0, 1.0]])
    matrix = RelationMatrix(SOURCE, TARGET, forward, backward)
    assert ESTIMATORS["relations"](KnownEvidence(matrix=matrix)).shares.tolist() == [[1, 0, 0], [0, 0, 1]]
    there_and_back = KnownEvidence(source=TARGET, target=SOURCE, matrix=matrix)
    assert ESTIMATORS["relations"](there_and_back).shares.tolist() == [[0.5, 0, 0.5], [0, 0, 1]]


def test_shares_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"class shares must be \(2, 3\) float32, got \(2, 2\)"):
        class_shares([0.5, 0.5], [0.5, 0.5])


def test_a_class_of_which_many_sure_detections_match_nothing_has_no_counterpart() -> None:
    counts = torch.tensor(
        [
            [90.0, 0, 10],  # red cells
            [0, 20, 15],  # white cells
            [2, 1, 97],  # platelets
            [2, 1, 47],  # 94 % of 50 boxes: at least 0.859
            [0, 0, 10],  # all, but of ten boxes alone: at least 0.788
            [5, 0, 16],  # 76 %
            [0, 0, 0],  # never detected
        ]
    )
    assert without_counterpart(counts).tolist() == [False, False, True, True, False, False, False]


def test_a_class_that_the_target_mostly_leaves_without_boxes_has_a_counterpart_if_those_it_has_are_found_as_it() -> None:
    assert without_counterpart(torch.tensor([[4.0, 196], [3, 197]])).tolist() == [False, True]
    assert without_counterpart(torch.tensor([[4.0, 196], [4, 196]])).tolist() == [False, False]
    assert without_counterpart(torch.tensor([[0.0, 200]])).tolist() == [True]
    assert without_counterpart(torch.zeros(2, 3)).tolist() == [False, False]
