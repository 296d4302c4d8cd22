"""What whole datasets say about two protocols, before any single box is transferred."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from lat.data.dataset import DetectionDataset
from lat.labelling.box_pairs import BoxPairs
from lat.labelling.class_shares import ClassShares, count_pairs
from lat.labelling.conventions import BoxConventions
from lat.labelling.estimate_conventions import estimate_conventions
from lat.labelling.share_table import read_share_table
from lat.labelling.witnesses import Witnessed, Witnesses
from lat.labels.chunks import in_chunks
from lat.labels.table import LabelTable
from lat.relations.relation_matrix import RelationMatrix
from lat.stages.shared.relation_files import read_relations
from lat.stages.transfer.class_shares_file import read_class_shares
from lat.workspace.label_files import read_held_out_labels, read_pseudo_labels
from lat.workspace.workspace import Workspace


class RunEvidence:
    """What a run knows about the classes of a source and a target; see `lat.labelling.class_shares.Evidence`.

    Reading a part raises `InputError` if a file that it needs is missing or wrong.
    """

    def __init__(self, workspace: Workspace, source: str, target: str) -> None:
        self.workspace = workspace
        self.source, self.target = workspace.data.space(source), workspace.data.space(target)

    @cached_property
    def counts_on_target(self) -> Tensor:
        """(K_s, K_t + 1) float32 counts: the human box of the target under each sure detection of the source's detector."""
        counts = torch.zeros(len(self.source), len(self.target) + 1)
        for sure, human in _sure_and_human(self.workspace, self.target.name, self.source.name):
            counts += count_pairs(sure, human)
        return counts

    @cached_property
    def counts_on_source(self) -> Tensor:
        """(K_s, K_t + 1) float32 counts: the sure pseudo-label of the target on each human box of the source."""
        counts = torch.zeros(len(self.source), len(self.target) + 1)
        for sure, human in _sure_and_human(self.workspace, self.source.name, self.target.name):
            counts += count_pairs(human, sure)
        return counts

    @cached_property
    def relations(self) -> RelationMatrix:
        """The relations that `lat relations` found or a person reviewed."""
        return read_relations(self.workspace, self.source.name, self.target.name)

    @cached_property
    def table(self) -> Mapping[int, Tensor]:
        """The rows of `transfer.prior.table`."""
        spaces = {name: self.workspace.data.space(name) for name in self.workspace.names}
        tables = read_share_table(Path(self.workspace.config.transfer.prior.table), spaces)
        return tables.get((self.source.name, self.target.name), {})

    def learnt(self, found_by: str) -> ClassShares:
        """The shares in `lat/class_shares.json` that were `counted`, `learnt`, made `consistent` or `scored`."""
        return read_class_shares(self.workspace, self.source.name, self.target.name, found_by)


class ConventionPairs(NamedTuple):
    """The pairs of boxes from which two protocols are compared; see `lat.labelling.estimate_conventions`.

    Attributes:
        on_source: human boxes of the source and the target detector's boxes, on images of the source.
        on_target: the source detector's boxes and human boxes of the target, on images of the target.
        held_out: the target detector's boxes and human boxes of the target, on images that it has not seen, if there are any.
        num_source: classes of the source.
        num_target: classes of the target.
    """

    on_source: BoxPairs
    on_target: BoxPairs
    held_out: BoxPairs
    num_source: int
    num_target: int


def convention_pairs(workspace: Workspace, source: str, target: str) -> ConventionPairs:
    """What the detectors of `source` and `target` drew beside the human boxes of both."""
    return ConventionPairs(
        BoxPairs.joined(BoxPairs.of_tables(human, sure) for sure, human in _sure_and_human(workspace, source, target)),
        BoxPairs.joined(BoxPairs.of_tables(sure, human) for sure, human in _sure_and_human(workspace, target, source)),
        BoxPairs.joined(BoxPairs.of_tables(sure, human) for sure, human in _held_out(workspace, target)),
        len(workspace.data.space(source)),
        len(workspace.data.space(target)),
    )


def conventions_of_pairs(workspace: Workspace, source: str, target: str, pairs: ConventionPairs) -> BoxConventions:
    """How boxes of `source` become boxes of `target`, given their `convention_pairs`; the detectors of others are witnesses."""
    abroad = (_abroad(workspace, source, target, other) for other in workspace.others(source) if other != target)
    at_home = (_at_home(workspace, target, other) for other in workspace.others(target))
    return estimate_conventions(*pairs, Witnesses(Witnessed.joined(abroad), Witnessed.joined(at_home)))


def compare_conventions(workspace: Workspace, source: str, target: str) -> BoxConventions:
    """How boxes of `source` become boxes of `target`, estimated with the detectors of both."""
    return conventions_of_pairs(workspace, source, target, convention_pairs(workspace, source, target))


def count_at_home(workspace: Workspace, dataset: str) -> Tensor:
    """(K, K + 1) float32 counts: the human box under each sure detection of a dataset's detector on its own held-out images.

    All are 0 for a dataset that is no target, whose held-out images are not labelled.
    """
    counts = torch.zeros(len(workspace.data.space(dataset)), len(workspace.data.space(dataset)) + 1)
    for sure, human in _held_out(workspace, dataset) if dataset in workspace.config.target_names else ():
        counts += count_pairs(sure, human)
    return counts


def _abroad(workspace: Workspace, source: str, target: str, witness: str) -> Witnessed:
    """What the detector of a third dataset tells of human boxes and the target's detector on the source's images."""
    tables = (read_pseudo_labels(workspace, source, space) for space in (target, witness))
    return _witnessed(workspace, workspace.data.train_part(source), *tables)


def _at_home(workspace: Workspace, target: str, witness: str) -> Witnessed:
    """What another detector tells of human boxes and the target's detector on the target's held-out images."""
    tables = (read_held_out_labels(workspace, target, space) for space in (target, witness))
    return _witnessed(workspace, workspace.data.held_out_part(target), *tables)


def _witnessed(workspace: Workspace, part: DetectionDataset, detected: LabelTable, witness: LabelTable) -> Witnessed:
    """Of sure detections alone, in chunks of images."""
    threshold = workspace.config.transfer.combine.sure_threshold
    return Witnessed.of_pairs(
        BoxPairs.of_three(own.at_least(threshold), human.where(~human.is_crowd), other.at_least(threshold))
        for own, human, other in in_chunks(detected, part.labels, witness)
    )


def _sure_and_human(workspace: Workspace, dataset: str, space: str) -> Iterator[tuple[LabelTable, LabelTable]]:
    """Sure pseudo-labels in `space` and human boxes of a dataset's training images, in chunks of images."""
    return _paired(workspace, workspace.data.train_part(dataset), read_pseudo_labels(workspace, dataset, space))


def _held_out(workspace: Workspace, target: str) -> Iterator[tuple[LabelTable, LabelTable]]:
    """Sure detections of the target's detector and human boxes of its held-out images, in chunks of images."""
    return _paired(workspace, workspace.data.held_out_part(target), read_held_out_labels(workspace, target, target))


def _paired(workspace: Workspace, part: DetectionDataset, labels: LabelTable) -> Iterator[tuple[LabelTable, LabelTable]]:
    threshold = workspace.config.transfer.combine.sure_threshold
    for found, human in in_chunks(labels, part.labels):
        yield found.at_least(threshold), human.where(~human.is_crowd)
