"""The class prior of `transfer.prior` from one source to one target, and its effect on each label; and what a person has said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lat.core.decoded_proposals import DecodedProposals
from lat.core.structures import LabeledBoxes
from lat.labelling.answers import Answers, read_answers
from lat.labelling.class_prior import ClassPrior
from lat.labelling.class_shares import ESTIMATORS, counted, equal_shares, without_counterpart
from lat.labelling.conventions import BoxConventions
from lat.labels.provenance import FACTOR_DECIMALS, AppliedPrior
from lat.labels.written_boxes import rounded
from lat.stages.shared.relation_files import relation_file
from lat.stages.transfer.evidence import RunEvidence, compare_conventions
from lat.workspace.workspace import Workspace


def prior_files(workspace: Workspace, source: str, target: str) -> tuple[Path, ...]:
    """The files, other than labels, that the class prior depends on, whether they exist or not."""
    settings = workspace.config.transfer.prior
    if not settings.applies_to(source):
        return ()
    if settings.is_learnt:
        return (workspace.paths.class_shares,)
    if settings.method == "relations":
        return (relation_file(workspace, source, target),)
    return (Path(settings.table),) if settings.method == "table" else ()


def find_prior(workspace: Workspace, source: str, target: str) -> ClassPrior | None:
    """The class prior for labels of `source` in the space of `target`; None if it is off.

    Raises:
        InputError: if a file that it needs is missing or wrong.
    """
    settings = workspace.config.transfer.prior
    if not settings.applies_to(source):
        return None
    evidence, answers = RunEvidence(workspace, source, target), find_answers(workspace, source, target)
    shares = ESTIMATORS[settings.method](evidence)
    if answers:
        undamped = evidence.learnt("learnt") if settings.is_learnt else shares
        shares = replace(shares, shares=answers.overriding(shares.shares, undamped.shares))
    if settings.is_learnt:
        prior, scored = ClassPrior.of_learnt_shares(shares, evidence.learnt("counted")), evidence.learnt("scored")
    else:
        prior = ClassPrior.of_shares(shares, counted(evidence), settings.floor)
        scored = equal_shares(evidence.source, evidence.target)  # nothing has read the scores of all boxes
    prior = prior.weighing_none(without_counterpart(evidence.counts_on_target), scored).vetoing(settings.veto)
    return prior.forbidding(answers.impossible) if answers else prior


def find_answers(workspace: Workspace, source: str, target: str) -> Answers | None:
    """What a person has said about the classes of `source` in the space of `target`, in the file of `answers`; None if nothing.

    Raises:
        InputError: if the file is missing or wrong.
    """
    if not workspace.config.answers:
        return None
    spaces = {name: workspace.data.space(name) for name in workspace.names}
    return read_answers(Path(workspace.config.answers), spaces)[source, target] or None


def find_conventions(workspace: Workspace, source: str, target: str) -> BoxConventions:
    """How boxes of `source` become boxes of `target`, as the detectors of both tell it, and a person of hidden parts.

    Raises:
        InputError: if pseudo-labels are missing, or the file of `answers` is missing or wrong.
    """
    conventions, answers = compare_conventions(workspace, source, target), find_answers(workspace, source, target)
    return conventions.without_exceptions(answers.drawn_alike) if answers else conventions


@dataclass(frozen=True, eq=False)
class PriorRecord:
    """What the class prior did to each label, for the label's provenance."""

    prior: ClassPrior
    threshold: float

    def applied(self, decoded: DecodedProposals, boxes: LabeledBoxes, rows: Tensor) -> AppliedPrior:
        """What it did to each label; nothing to one whose proposal lies on no human box.

        Args:
            decoded: proposals of some images.
            boxes: their N labels, with uncalibrated scores.
            rows: (N,) int64 rows of the labels' proposals.
        """
        human = decoded.on_host.support[rows]
        lies_on_one = human >= 0
        classes = torch.where(lies_on_one, decoded.on_host.source_labels[human], -1)
        factors = torch.where(lies_on_one, self.prior.factors[classes, boxes.labels].double(), 1.0)
        return AppliedPrior(
            classes.numpy().astype(np.int32),
            self.prior.shares.source.class_names,
            rounded(factors.numpy(), FACTOR_DECIMALS),
            (lies_on_one & (boxes.scores < self.threshold)).numpy(),
        )
