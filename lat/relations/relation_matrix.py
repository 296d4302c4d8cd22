"""Relations between the classes of two label spaces: how much of each class lies in which class of the other space.

Shape letters: K1 classes of the first space, K2 of the second. "Rest of the world" (RoW) is what the other space does not label;
it is the last column of a table of shares, and the last row and column of `scores` and `edges`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from lat.core.label_space import LabelSpace

INSIDE_SHARE = 0.7  # a class lies inside another if at least this share of its samples does
RELATED_SCORE = 0.25  # two classes with at least this score are related if a method decides no edges


class RelationType(StrEnum):
    """How a class of the first space relates to one of the second."""

    EQUAL = "equal"
    NARROWER = "narrower"
    BROADER = "broader"
    OVERLAPPING = "overlapping"
    UNRELATED = "unrelated"


@dataclass(frozen=True, eq=False)
class RelationMatrix:
    """Relations between two label spaces, with a method's confidence in each.

    Attributes:
        first: the first label space.
        second: the second label space.
        first_to_second: (K1, K2 + 1) float32 in [0, 1], the share of each first class that lies in each second class, RoW last.
        second_to_first: (K2, K1 + 1) float32 in [0, 1], the share of each second class that lies in each first class, RoW last.
        edges: (K1 + 1, K2 + 1) bool, the relations decided by a method or a person, or None. An edge to the last row or column
            means that the class stands alone.

    Raises:
        ValueError: if a field has another shape or dtype, or a share is not a number in [0, 1].

    Source: SLAMDUNKS, section 3.1 (bipartite graph with a vertex for the rest of the world on each side).
    """

    first: LabelSpace
    second: LabelSpace
    first_to_second: Tensor
    second_to_first: Tensor
    edges: Tensor | None = None

    def __post_init__(self) -> None:
        k1, k2 = len(self.first), len(self.second)
        for name, shape in (("first_to_second", (k1, k2 + 1)), ("second_to_first", (k2, k1 + 1))):
            shares = getattr(self, name)
            if tuple(shares.shape) != shape or shares.dtype != torch.float32:
                raise ValueError(f"{name} must be {shape} float32, got {tuple(shares.shape)} {shares.dtype}")
            if not ((shares >= 0) & (shares <= 1)).all():
                raise ValueError(f"{name} must be shares in [0, 1]")
        if self.edges is not None:
            if tuple(self.edges.shape) != (k1 + 1, k2 + 1) or self.edges.dtype != torch.bool:
                raise ValueError(f"edges must be {(k1 + 1, k2 + 1)} bool")
            if self.edges[k1, k2]:
                raise ValueError("edges must not join the two rests of the world")

    @property
    def scores(self) -> Tensor:
        """(K1 + 1, K2 + 1) float32: the larger of the two shares of each pair; last row and column: standing alone."""
        k1, k2 = len(self.first), len(self.second)
        scores = torch.zeros(k1 + 1, k2 + 1)
        scores[:k1, :k2] = torch.maximum(self.first_to_second[:, :k2], self.second_to_first[:, :k1].T)
        scores[:k1, k2] = self.first_to_second[:, k2]
        scores[k1, :k2] = self.second_to_first[:, k1]
        return scores

    @property
    def related(self) -> Tensor:
        """(K1, K2) bool: the edges between classes or, if none are decided, the pairs that score `RELATED_SCORE` or more."""
        k1, k2 = len(self.first), len(self.second)
        return (self.scores >= RELATED_SCORE if self.edges is None else self.edges)[:k1, :k2]

    def relation_type(self, i: int, j: int) -> RelationType:
        """How first class `i` relates to second class `j`, from the asymmetry of the two shares.

        Source: Uijlings et al., The Missing Link (ECCV 2022): a class that lies inside another, but not conversely, is narrower.
        """
        if not self.related[i, j]:
            return RelationType.UNRELATED
        i_inside = bool(self.first_to_second[i, j] >= INSIDE_SHARE)
        j_inside = bool(self.second_to_first[j, i] >= INSIDE_SHARE)
        if i_inside:
            return RelationType.EQUAL if j_inside else RelationType.NARROWER
        return RelationType.BROADER if j_inside else RelationType.OVERLAPPING

    def class_shares_of(self, source: str) -> Tensor:
        """Class shares, P(target class | source class), between the two spaces in either direction; only related classes count.

        Args:
            source: name of the first or the second label space; the other one is the target.

        Returns:
            (K_s, K_t + 1) float32; rows sum to 1. The last column is the rest of the world, which the target does not label; a
            source class without related classes has its whole share there.

        Raises:
            KeyError: if neither space has that name.
        """
        if source not in (self.first.name, self.second.name):
            raise KeyError(f"no label space '{source}': these are relations of {self.first.name} and {self.second.name}")
        is_forward = source == self.first.name
        related = self.related if is_forward else self.related.T
        shares = (self.first_to_second if is_forward else self.second_to_first).clone()
        shares[:, :-1] *= related
        is_alone = ~related.any(dim=1)
        shares[:, -1] = torch.where(is_alone, 1.0, shares[:, -1])
        is_empty = shares.sum(dim=1, keepdim=True) == 0
        shares[:, :-1] = torch.where(is_empty & related, 1.0, shares[:, :-1])
        return shares / shares.sum(dim=1, keepdim=True)

    def universal_classes(self) -> tuple[Tensor, Tensor]:
        """Each class as a union of universal classes: (K1, U) and (K2, U) bool, one universal class per relation.

        A class without relations is a universal class of its own. Related pairs come first, row by row, then the
        standalone classes of the first space, then those of the second. Every row has at least one True, as NLL+ needs.

        Source: SLAMDUNKS, section 3.1 (universal class decomposition); Bevandić et al. (2022), NLL+.
        """
        related = self.related
        columns = [(i, j) for i, j in related.nonzero().tolist()]
        columns += [(i, -1) for i in range(len(self.first)) if not related[i].any()]
        columns += [(-1, j) for j in range(len(self.second)) if not related[:, j].any()]
        members = torch.tensor(columns)
        of_first = torch.arange(len(self.first))[:, None] == members[None, :, 0]
        of_second = torch.arange(len(self.second))[:, None] == members[None, :, 1]
        return of_first, of_second

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as written to JSON: classes by name, shares, scores and relations."""
        scores = self.scores
        relations = [
            {
                "first": self.first.class_names[i],
                "second": self.second.class_names[j],
                "relation": self.relation_type(i, j).value,
                "score": _rounded(scores[i, j]),
            }
            for i, j in self.related.nonzero().tolist()
        ]
        return {
            "first": {"name": self.first.name, "categories": self.first.categories()},
            "second": {"name": self.second.name, "categories": self.second.categories()},
            "relations": relations,
            "first_to_second": _rounded(self.first_to_second),
            "second_to_first": _rounded(self.second_to_first),
            "edges": None if self.edges is None else self.edges.nonzero().tolist(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> RelationMatrix:
        """The matrix from the output of `to_dict`, with shares rounded to six digits."""
        first, second = (_space(content[side]) for side in ("first", "second"))
        edges = None
        if content["edges"] is not None:
            edges = torch.zeros(len(first) + 1, len(second) + 1, dtype=torch.bool)
            for i, j in content["edges"]:
                edges[i, j] = True
        forward, backward = torch.tensor(content["first_to_second"]), torch.tensor(content["second_to_first"])
        return cls(first, second, forward, backward, edges)


def _rounded(values: Tensor) -> Any:
    """Nested lists of numbers with six digits; plain float32 would give 0.10000000149011612."""
    return torch.round(values.double(), decimals=6).tolist()


def _space(content: Mapping[str, Any]) -> LabelSpace:
    categories = content["categories"]
    return LabelSpace(content["name"], tuple(c["name"] for c in categories), tuple(int(c["id"]) for c in categories))
