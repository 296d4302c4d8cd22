"""Relation matrices: scores, types, priors, universal classes, JSON."""

from __future__ import annotations

import json

import pytest
import torch
from factories import label_space

from lat.relations.relation_matrix import RelationMatrix, RelationType
from lat.relations.taxonomies import CUSTOM_FIRST, CUSTOM_SECOND, Taxonomy, true_relations

TRUE = true_relations(CUSTOM_FIRST, CUSTOM_SECOND)


def matrix(forward: list[list[float]], backward: list[list[float]], edges: list[list[int]] | None = None) -> RelationMatrix:
    first = label_space("a", [f"a{i}" for i in range(len(forward))], ids=range(5, 5 + len(forward)))
    second = label_space("b", [f"b{i}" for i in range(len(backward))])
    decided = None if edges is None else torch.tensor(edges, dtype=torch.bool)
    return RelationMatrix(first, second, torch.tensor(forward), torch.tensor(backward), edges=decided)


def test_a_score_is_the_larger_share_and_the_corner_is_zero() -> None:
    scores = matrix([[0.2, 0.8]], [[0.6, 0.4]]).scores
    assert scores.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [pytest.approx(0.4), 0.0]]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("4", "4", RelationType.EQUAL),
        ("8", "8", RelationType.EQUAL),
        ("1+2", "1", RelationType.BROADER),
        ("5+6+7", "6", RelationType.BROADER),
        ("3", "2+3", RelationType.NARROWER),
        ("1+2", "2+3", RelationType.OVERLAPPING),
        ("0", "9", RelationType.UNRELATED),
        ("3", "4", RelationType.UNRELATED),
    ],
)
def test_types_of_the_custom_taxonomies(first: str, second: str, expected: RelationType) -> None:
    i, j = TRUE.first.class_names.index(first), TRUE.second.class_names.index(second)
    assert TRUE.relation_type(i, j) is expected


def test_swapping_the_spaces_swaps_narrower_and_broader() -> None:
    swapped = true_relations(CUSTOM_SECOND, CUSTOM_FIRST)
    turned = {RelationType.NARROWER: RelationType.BROADER, RelationType.BROADER: RelationType.NARROWER}
    for i in range(len(TRUE.first)):
        for j in range(len(TRUE.second)):
            found = TRUE.relation_type(i, j)
            assert swapped.relation_type(j, i) is turned.get(found, found)


def test_class_shares_of_both_directions_by_hand() -> None:
    # a0: 0.6 of b0, 0.1 of b1 (unrelated), 0.3 of nothing: 0.6 / 0.9 and 0.3 / 0.9. a1 and b1 have no edge: all is background.
    # b0: 0.5 of a0, 0.25 of a1 (unrelated), 0.25 of nothing: 0.5 / 0.75 and 0.25 / 0.75.
    found = matrix([[0.6, 0.1, 0.3], [0.2, 0.1, 0.7]], [[0.5, 0.25, 0.25], [0, 0.2, 0.8]], [[1, 0, 0], [0, 0, 1], [0, 1, 0]])
    torch.testing.assert_close(found.class_shares_of("a"), torch.tensor([[2 / 3, 0, 1 / 3], [0, 0, 1.0]]))
    torch.testing.assert_close(found.class_shares_of("b"), torch.tensor([[2 / 3, 0, 1 / 3], [0, 0, 1.0]]))


def test_class_shares_of_the_custom_taxonomies() -> None:
    shares = TRUE.class_shares_of("second")
    # {2, 3} is half of {1, 2}, half of {3}; nothing of the first space is {9}.
    assert shares.shape == (8, 7)
    assert shares[1].tolist() == [0, 0.5, 0.5, 0, 0, 0, 0]
    assert shares[7].tolist() == [0, 0, 0, 0, 0, 0, 1]


def test_class_shares_of_an_edge_without_any_share() -> None:
    found = matrix([[0.0, 0.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]], [[1, 1, 0], [0, 0, 0]])
    torch.testing.assert_close(found.class_shares_of("a"), torch.tensor([[0.5, 0.5, 0.0]]))


def test_class_shares_of_an_unknown_space_are_refused() -> None:
    with pytest.raises(KeyError, match="no label space 'c': these are relations of a and b"):
        matrix([[1.0, 0.0]], [[1.0, 0.0]]).class_shares_of("c")


def test_universal_classes_are_the_edges_and_what_stands_alone() -> None:
    of_first, of_second = TRUE.universal_classes()
    # 8 relations, {0} and {9} alone.
    assert of_first.shape == (6, 10)
    assert of_second.shape == (8, 10)
    assert of_first.any(dim=1).all()
    assert of_second.any(dim=1).all()
    # A universal class that both have is exactly one relation.
    pairs = (of_first.float() @ of_second.float().T) > 0
    assert torch.equal(pairs, TRUE.related)
    assert of_first.sum(dim=0).max() == 1


def test_json_and_back_keeps_names_ids_shares_and_edges() -> None:
    content = json.loads(json.dumps(TRUE.to_dict(), allow_nan=False))
    back = RelationMatrix.from_dict(content)
    assert (back.first, back.second) == (TRUE.first, TRUE.second)
    torch.testing.assert_close(back.first_to_second, TRUE.first_to_second, atol=1e-6, rtol=0)
    torch.testing.assert_close(back.second_to_first, TRUE.second_to_first, atol=1e-6, rtol=0)
    assert back.edges is not None
    assert TRUE.edges is not None
    assert torch.equal(back.edges, TRUE.edges)
    assert {"first": "3", "second": "2+3", "relation": "narrower", "score": 1.0} in content["relations"]


def test_wrong_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="shares in"):
        matrix([[float("nan"), 0.0]], [[0.0, 0.0]])
    with pytest.raises(ValueError, match="first_to_second must be"):
        matrix([[0.0]], [[0.0, 0.0]])
    with pytest.raises(ValueError, match="two rests"):
        matrix([[1.0, 0.0]], [[1.0, 0.0]], [[1, 0], [0, 1]])


def test_relabelling_follows_the_sets() -> None:
    taxonomy = Taxonomy.of_sets("t", [[0], [1, 2], [5]])
    assert taxonomy.space.class_names == ("0", "1+2", "5")
    assert taxonomy.relabel(torch.tensor([2, 0, 3, 5, 1])).tolist() == [1, 0, -1, 2, 1]


def test_the_custom_taxonomies_have_the_eight_relations_of_the_paper() -> None:
    pairs = {(TRUE.first.class_names[i], TRUE.second.class_names[j]) for i, j in TRUE.related.nonzero().tolist()}
    expected = {("1+2", "1"), ("1+2", "2+3"), ("3", "2+3"), ("4", "4"), ("8", "8")} | {("5+6+7", d) for d in "567"}
    assert pairs == expected
    assert TRUE.edges is not None
    assert TRUE.edges[:-1, -1].nonzero().flatten().tolist() == [0]  # {0}
    assert TRUE.edges[-1, :-1].nonzero().flatten().tolist() == [7]  # {9}
