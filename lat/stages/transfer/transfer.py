"""Write each source's labels in the space of each target: `transferred/S.T.json`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lat.core.decoded_proposals import Decoded, DecodedProposals, joined
from lat.core.label_space import JointLabelSpace
from lat.core.structures import LabeledBoxes, Proposals
from lat.engine.announce import say
from lat.engine.jobs import Advance, in_shards, sizes_of, uncounted
from lat.labelling.keep_and_fuse import labels_of_targets
from lat.labels.provenance import Provenance
from lat.labels.store.arrow import to_arrow
from lat.labels.store.shards import LabelShards
from lat.labels.written_boxes import table_of_rows
from lat.stages.shared.detection import batches_of
from lat.stages.shared.label_filters import Filtering, write_chosen
from lat.stages.shared.transfer_model import SourceDecoder, images_per_batch
from lat.stages.transfer.no_counterpart import what_became_of_them
from lat.stages.transfer.pair_evidence import PairEvidence, evidence_folder, gather_evidence
from lat.stages.transfer.priors import PriorRecord, find_answers
from lat.workspace.jobs import do_shards
from lat.workspace.label_files import label_info
from lat.workspace.label_shards import prepared_shards, work_folder
from lat.workspace.workspace import Workspace

LABELLED_TOGETHER = 8  # batches of images
LABELLED_CELLS = 2**20  # class scores of their proposals, beyond which fewer batches go together

TracedLabels = tuple[LabeledBoxes, list[int], Provenance]
"""The labels of some images one after another, how many each has, and the provenance of all."""


def transfer(workspace: Workspace, *, source: str, due: Mapping[str, str]) -> None:
    """Transfer the labels of the training images of `source` to each target due, with the one trained model.

    If the step that learns class shares has just decoded the images, `workspace.data.decoded` has them.

    Source: Label-Aligned Transfer, section 3.3 (logits masked to the target label space); the use of dataset-wide evidence
    (`lat.labelling`) is ours.
    """
    evidence = {target: gather_evidence(workspace, source, target, inputs) for target, inputs in due.items()}
    job = do_shards(workspace, TransferShards, source=source, due=due, evidence=evidence)
    workspace.data.decoded.drop(source)
    workspace.processes.from_first(job.finish)


class TransferShards:
    """The labels of the training images of a source in the space of each target due; see `ShardJob`.

    Args:
        workspace: the run.
        source: the dataset whose labels are transferred.
        due: see `RunSteps`; its members are the targets.
        evidence: what is known of the source and each target.
    """

    is_preparation = False

    def __init__(
        self, workspace: Workspace, *, source: str, due: Mapping[str, str], evidence: Mapping[str, PairEvidence]
    ) -> None:
        self.workspace, self.source, self.evidence = workspace, source, evidence
        self.part = workspace.data.train_part(source)
        self.title = f"transfer {source} to {', '.join(due)}"
        self.batches = in_shards(batches_of(range(len(self.part)), images_per_batch(workspace)))
        self.sizes = sizes_of(self.batches)
        self.decoder = SourceDecoder(workspace, source, list(due))
        self.shards = {target: self._shards(target, inputs) for target, inputs in due.items()}
        written = workspace.config.transfer.decode.written_threshold
        priors = {target: known.prior for target, known in evidence.items()}
        self.rules = {target: known.rules(workspace, target) for target, known in evidence.items()}
        self.records = {target: PriorRecord(prior, written) for target, prior in priors.items() if prior is not None}

    def _shards(self, target: str, inputs: str) -> LabelShards:
        paths, space = self.workspace.paths, self.workspace.data.space(target)
        folder = work_folder(paths.root, paths.transferred(self.source, target))
        return prepared_shards(folder, self.part.labels, space, inputs, self.batches)

    def is_done(self, shard: int) -> bool:
        return all(shards.has(shard) for shards in self.shards.values())

    def run(self, shard: int, advance: Advance = uncounted) -> list[Path]:
        labels: dict[str, list[TracedLabels]] = {target: [] for target in self.shards}
        waiting: list[Decoded] = []
        for images, batch in zip(self.batches[shard], self._decoded(self.batches[shard]), strict=True):
            if waiting and not _go_together(waiting, batch):
                self._label(joined(waiting), labels)
                waiting.clear()
            waiting.append(batch)
            advance(len(images))
        self._label(joined(waiting), labels)
        first = self.batches[shard][0].start
        for target, found in labels.items():
            parts, counts, provenance = zip(*found, strict=True)
            space, traced = self.workspace.data.space(target), Provenance.concatenated(provenance)
            table = table_of_rows(self.part.labels, space, LabeledBoxes.joined(parts), list(chain(*counts)), traced, first)
            self.shards[target].write(shard, to_arrow(table, first))
        return [shards.path(shard) for shards in self.shards.values()]

    def _label(self, batch: Decoded, labels: Mapping[str, list[TracedLabels]]) -> None:
        """Add the labels of a batch of images in the space of each target."""
        work = [(batch[target], self.rules[target].to(batch[target].device)) for target in labels]
        for (target, found), each in zip(labels.items(), labels_of_targets(work), strict=True):
            found.append(self._traced(target, batch[target], *each))

    def _traced(self, target: str, decoded: DecodedProposals, boxes: LabeledBoxes, rows: Tensor) -> TracedLabels:
        """The labels of the images of a batch, calibrated, and where they come from."""
        provenance = provenance_of(decoded.on_host.proposals, rows, self.workspace.data.joint)
        if target in self.records:
            provenance = replace(provenance, prior=self.records[target].applied(decoded, boxes, rows))
        return self.evidence[target].calibrated(boxes), decoded.counts(rows), provenance

    def finish(self) -> None:
        """Write `transferred/S.T.json` of each target, and say which source classes have no counterpart."""
        settings = self.workspace.config.transfer.filter
        for target, shards in self.shards.items():
            known, path = self.evidence[target], self.workspace.paths.transferred(self.source, target)
            info: dict[str, Any] = {**label_info(self.workspace, "label_transfer", self.workspace.paths.transfer_model)}
            info["calibration"] = known.calibration.to_dict()
            if answers := find_answers(self.workspace, self.source, target):
                info["answers"] = answers.to_dict()
            filtering = Filtering(settings, known.held_out, scored_by_class=False)
            write_chosen(self.workspace, path, shards, filtering, info)
            shutil.rmtree(evidence_folder(self.workspace, self.source, target), ignore_errors=True)
            if line := what_became_of_them(self.workspace, self.source, target):
                say(line)

    def _decoded(self, batches: Sequence[range]) -> Iterator[Decoded]:
        """The decoded proposals of some batches: those that wait in this process, or the model's."""
        model, store = self.workspace.paths.transfer_model, self.workspace.data.decoded
        waiting = [store.take(model, self.source, images.start) for images in batches]
        decoded = self.decoder.decode([images for images, found in zip(batches, waiting, strict=True) if found is None])
        for found in waiting:
            yield next(decoded) if found is None else found


def _go_together(waiting: Sequence[Decoded], batch: Decoded) -> bool:
    """Whether labels of this batch are found along with those of others; few proposals cost as much as many."""
    first, last = next(iter(waiting[0].values())), next(iter(batch.values()))
    cells = (len(waiting) + 1) * max(one.class_scores.numel() for one in batch.values())
    return first.device == last.device and len(waiting) < LABELLED_TOGETHER and cells <= LABELLED_CELLS


def provenance_of(proposals: Proposals, rows: Tensor, joint: JointLabelSpace) -> Provenance:
    """For each of `rows` (N,), the proposal that a box came from: its origin, its space and its annotation id."""
    chosen = proposals[rows]
    return Provenance(
        origin=chosen.origin.numpy().astype(np.int8),
        space=chosen.space_index.numpy().astype(np.int16),
        spaces=tuple(joint.names),
        annotation_ids=torch.where(chosen.annotation_ids > 0, chosen.annotation_ids, -1).numpy(),
    )
