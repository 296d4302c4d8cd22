"""Class shares of two small label spaces, and evidence of them that a test gives at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lat.core.label_space import LabelSpace
from lat.labelling.class_shares import ClassShares
from lat.relations.relation_matrix import RelationMatrix

SOURCE = LabelSpace.from_names("source", ["van", "dog"])
TARGET = LabelSpace.from_names("target", ["bus", "truck"])


def class_shares(*rows: list[float], source: LabelSpace = SOURCE, target: LabelSpace = TARGET) -> ClassShares:
    """Shares from rows, one per source class, "none" last in each."""
    return ClassShares(source, target, torch.tensor(rows, dtype=torch.float32), "counted")


@dataclass(frozen=True)
class KnownEvidence:
    """Evidence that holds what it is given; nothing was counted unless counts are given."""

    source: LabelSpace = SOURCE
    target: LabelSpace = TARGET
    counts_on_target: Tensor = field(default_factory=lambda: torch.zeros(2, 3))
    counts_on_source: Tensor = field(default_factory=lambda: torch.zeros(2, 3))
    table: Mapping[int, Tensor] = field(default_factory=dict)
    matrix: RelationMatrix | None = None
    saved: Mapping[str, ClassShares] = field(default_factory=dict)

    @property
    def relations(self) -> RelationMatrix:
        assert self.matrix is not None
        return self.matrix

    def learnt(self, found_by: str) -> ClassShares:
        return self.saved[found_by]
