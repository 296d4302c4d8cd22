"""The questions about classes that a run leaves open."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import permutations

import torch

from lat.core.errors import InputError
from lat.labelling.answers import Answers
from lat.labelling.class_shares import ClassShares
from lat.labelling.questions import Question, pick_questions
from lat.stages.transfer.convention_figures import ESTIMATES
from lat.stages.transfer.evidence import RunEvidence
from lat.workspace.paths import require
from lat.workspace.workspace import Workspace


class RunQuestions:
    """The questions about classes of a run whose labels have been transferred once.

    Raises:
        InputError: if class shares are not estimated, or not yet.
    """

    def __init__(self, workspace: Workspace) -> None:
        method = workspace.config.transfer.prior.method
        if not workspace.config.transfer.prior.is_learnt:
            what = f"is {method}, for which no class shares are estimated"
            raise InputError("transfer.prior.method", what, "choose consistent or learnt to be asked")
        require(workspace.paths.class_shares, "lat transfer")
        self.workspace = workspace
        self.spaces = {name: workspace.data.space(name) for name in workspace.names}
        self._estimates = {pair: self._estimates_of(*pair) for pair in permutations(workspace.names, 2)}
        self._boxes = {name: self._count(name) for name in workspace.names}

    def _estimates_of(self, source: str, target: str) -> list[ClassShares]:
        evidence = RunEvidence(self.workspace, source, target)
        return [evidence.learnt(found_by) for found_by in ESTIMATES]

    def _count(self, name: str) -> torch.Tensor:
        labels = self.workspace.data.train_part(name).labels
        return torch.bincount(torch.from_numpy(labels.labels[~labels.is_crowd]), minlength=len(self.spaces[name]))

    def pick(
        self, answers: Mapping[tuple[str, str], Answers], most: int, skipped: Collection[tuple[str, str, str]] = ()
    ) -> list[Question]:
        """At most so many questions that answers leave open, those with the largest expected gain first; see `pick_questions`.

        Args:
            answers: what has been said; pairs may be missing.
            most: how many at most.
            skipped: source, target and source class of questions that are not to be asked.
        """
        return pick_questions(self._estimates, self._boxes, answers, most, self.workspace.transfers(), skipped)
