"""Combine the pairwise relations of label spaces into one table over the joint label space, for losses.

Shape letters: N label spaces, K classes of the joint label space, U universal classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lat.core.errors import InputError
from lat.core.label_space import JointLabelSpace
from lat.relations.relation_matrix import RelationMatrix

MOST_UNIVERSAL_CLASSES = 10_000


def positive_sets(matrices: Sequence[RelationMatrix], joint: JointLabelSpace, threshold: float) -> Tensor:
    """(K, K) bool: [c, k] is True if class c is a kind of class k of another space; not symmetric.

    That is the case if the two are related and at least `threshold` of c lies in k.

    Source: Kim et al., UniSeg (2022), the secondary labels of class-relational BCE.
    """
    table = torch.zeros(len(joint), len(joint), dtype=torch.bool)
    for matrix in matrices:
        one, other = joint.slice(matrix.first.name), joint.slice(matrix.second.name)
        table[one, other] = matrix.related & (matrix.first_to_second[:, :-1] >= threshold)
        table[other, one] = matrix.related.T & (matrix.second_to_first[:, :-1] >= threshold)
    return table


def universal_members(matrices: Sequence[RelationMatrix], joint: JointLabelSpace) -> Tensor:
    """(K + N, U + 1) bool: the universal classes of each class, then of each space's background.

    A universal class is a maximal set of pairwise related classes, so it has at most one class per space; for two spaces these
    are `RelationMatrix.universal_classes`. The last column is what no space labels. A space's background is that column and the
    universal classes without a class of the space. The rows of a space with its background form a partition.

    Raises:
        InputError: if there are more than `MOST_UNIVERSAL_CLASSES`.

    Source: Bevandić et al. (2022), NLL+; for two spaces SLAMDUNKS, section 3.1.
    """
    related = positive_sets(matrices, joint, 0.0).tolist()  # symmetric: every share is at least 0
    neighbours = [{k for k, is_related in enumerate(row) if is_related} for row in related]
    cliques: list[list[int]] = []
    for found in _largest_sets(frozenset(), set(range(len(joint))), set(), neighbours):
        cliques.append(sorted(found))
        if len(cliques) > MOST_UNIVERSAL_CLASSES:
            remedy = "review the relations with `lat relations --review`, or raise relations.threshold"
            raise InputError("relations", f"result in more than {MOST_UNIVERSAL_CLASSES} universal classes", remedy)
    members = torch.zeros(len(joint), len(cliques) + 1, dtype=torch.bool)
    for column, clique in enumerate(sorted(cliques)):
        members[clique, column] = True
    backgrounds = [~members[joint.slice(name)].any(dim=0) for name in joint.names]
    return torch.cat([members, torch.stack(backgrounds)])


def _largest_sets(
    chosen: frozenset[int], candidates: set[int], done: set[int], neighbours: Sequence[set[int]]
) -> Iterator[frozenset[int]]:
    """Maximal cliques with `chosen`, more members from `candidates` and none from `done` (Bron & Kerbosch 1973)."""
    if not candidates and not done:
        yield chosen
        return
    pivot = max(candidates | done, key=lambda one: (len(neighbours[one] & candidates), -one))
    for one in sorted(candidates - neighbours[pivot]):
        yield from _largest_sets(chosen | {one}, candidates & neighbours[one], done & neighbours[one], neighbours)
        candidates = candidates - {one}
        done = done | {one}
