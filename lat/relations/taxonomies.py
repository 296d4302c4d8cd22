"""Label spaces made from one set of concepts, so that the true relations between their classes are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lat.core.label_space import LabelSpace
from lat.relations.relation_matrix import RelationMatrix


@dataclass(frozen=True)
class Taxonomy:
    """Classes as sets of concepts; concepts in no class are unlabelled.

    Attributes:
        space: the classes.
        concepts: the concepts of each class, numbers from 0; no concept is in two classes.
    """

    space: LabelSpace
    concepts: tuple[frozenset[int], ...]

    def __post_init__(self) -> None:
        assert len(self.space) == len(self.concepts)
        assert sum(map(len, self.concepts)) == len(frozenset().union(*self.concepts)), "classes of one space are disjoint"

    @classmethod
    def of_sets(cls, name: str, sets: Sequence[Sequence[int]]) -> Taxonomy:
        """Classes named after their concepts, as `1+2`."""
        return cls(LabelSpace.from_names(name, ["+".join(map(str, one)) for one in sets]), tuple(map(frozenset, sets)))

    def relabel(self, concepts: Tensor) -> Tensor:
        """Class indices (N,) int64 of samples with these concepts (N,) int64; -1 if no class has the concept."""
        labels = torch.full_like(concepts, -1)
        for index, members in enumerate(self.concepts):
            labels[torch.isin(concepts, torch.tensor(sorted(members)))] = index
        return labels


# These have equal, narrower, broader, overlapping and standalone classes.
# Source: SLAMDUNKS, section 4.2.
CUSTOM_FIRST = Taxonomy.of_sets("first", [[0], [1, 2], [3], [4], [5, 6, 7], [8]])
CUSTOM_SECOND = Taxonomy.of_sets("second", [[1], [2, 3], [4], [5], [6], [7], [8], [9]])


def true_relations(first: Taxonomy, second: Taxonomy) -> RelationMatrix:
    """The relations by definition: two classes are related if they share a concept, and stand alone if they share none.

    Shares are shares of equally weighted concepts. A class is related even if the other taxonomy lacks some of its concepts, and
    then has no edge to the rest of the world.

    Source: SLAMDUNKS, section 3.1.
    """
    common = torch.tensor([[len(a & b) for b in second.concepts] for a in first.concepts], dtype=torch.float32)
    sizes_first = torch.tensor([[len(a)] for a in first.concepts])
    sizes_second = torch.tensor([[len(b)] for b in second.concepts])
    forward, backward = common / sizes_first, common.T / sizes_second
    return RelationMatrix(
        first.space,
        second.space,
        torch.cat([forward, 1 - forward.sum(dim=1, keepdim=True)], dim=1).clamp(0, 1),
        torch.cat([backward, 1 - backward.sum(dim=1, keepdim=True)], dim=1).clamp(0, 1),
        edges=with_standalone(common > 0),
    )


def with_standalone(related: Tensor) -> Tensor:
    """Edges (K1 + 1, K2 + 1) bool from relations (K1, K2) bool: a class without any relation stands alone."""
    edges = torch.zeros(related.shape[0] + 1, related.shape[1] + 1, dtype=torch.bool)
    edges[:-1, :-1] = related
    edges[:-1, -1] = ~related.any(dim=1)
    edges[-1, :-1] = ~related.any(dim=0)
    return edges
