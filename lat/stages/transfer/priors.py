"""The prior of `transfer.prior` from one source to one target, and what it did to each label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lat.core.decoded_proposals import DecodedProposals
from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.labelling.class_prior import RelationPrior, expected_shares
from lat.labelling.prior_table import read_prior_table, shares_of_table
from lat.stages.shared.relation_files import read_relations, relation_file
from lat.stages.transfer.class_shares import read_class_shares
from lat.stages.transfer.protocols import count_all_relations, count_cooccurrence
from lat.workspace.workspace import Workspace


def prior_files(workspace: Workspace, source: str, target: str) -> tuple[Path, ...]:
    """The files on which the prior depends besides labels, whether they are there or not."""
    settings = workspace.config.transfer.prior
    if not settings.applies_to(source):
        return ()
    if settings.is_learnt:
        return (workspace.paths.class_shares,)
    if settings.method == "relations":
        return (relation_file(workspace, source, target),)
    return (Path(settings.table),) if settings.method == "table" else ()


def find_prior(workspace: Workspace, source: str, target: str) -> RelationPrior | None:
    """The prior for labels of `source` in the space of `target`; None where it is off.

    Raises:
        InputError: if a file that it needs is missing or wrong.
    """
    settings = workspace.config.transfer.prior
    if not settings.applies_to(source):
        return None
    if settings.is_learnt:
        prior = RelationPrior.learnt(*read_class_shares(workspace, source, target, settings.method))
    else:
        old = expected_shares(count_all_relations(workspace, source, target))
        prior = RelationPrior.of_shares(_new_shares(workspace, source, target, old), old, settings.floor)
    return prior.vetoing(settings.veto)


def _new_shares(workspace: Workspace, source: str, target: str, old: Tensor) -> Tensor:
    """(K_s, K_t + 1) shares of the target's classes under each class of the source, by the method of the settings."""
    settings = workspace.config.transfer.prior
    match settings.method:
        case "relations":
            return read_relations(workspace, source, target).target_shares(source)
        case "table":
            tables = read_prior_table(Path(settings.table), {name: workspace.data.space(name) for name in workspace.names})
            return shares_of_table(tables.get((source, target), {}), old)
        case "cooccurrence":
            return expected_shares(count_cooccurrence(workspace, source, target))
        case method:
            raise AssertionError(f"no prior {method}")


@dataclass(frozen=True, eq=False)
class PriorRecord:
    """Tells of each label what the prior did to it, as its provenance has it."""

    prior: RelationPrior
    source: LabelSpace
    score_threshold: float

    def entries(self, decoded: DecodedProposals, boxes: LabeledBoxes, rows: Tensor) -> list[dict[str, Any]]:
        """For each label {"prior": {"source_class", "factor", "kept"}}, or {} if its proposal lies on none of the source's boxes.

        Args:
            decoded: some images.
            boxes: their N labels, with scores as they were when they were chosen.
            rows: (N,) int64 rows of their proposals.
        """
        own = decoded.support[rows]
        classes = torch.where(own >= 0, decoded.source_labels[own], -1)
        factors = self.prior.factors[classes, boxes.labels].tolist()
        kept = (boxes.scores < self.score_threshold).tolist()
        return [
            {} if c < 0 else {"prior": {"source_class": self.source.class_names[c], "factor": factor, "kept": is_kept}}
            for c, factor, is_kept in zip(classes.tolist(), factors, kept, strict=True)
        ]
