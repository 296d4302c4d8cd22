"""What one source and one target as a whole say about their labels: conventions, class prior, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from lat.core.decoded_proposals import DecodedProposals
from lat.core.structures import LabeledBoxes
from lat.engine.jobs import Advance, in_shards, sizes_of, uncounted
from lat.labelling.calibration import Calibration
from lat.labelling.class_prior import ClassPrior
from lat.labelling.conventions import BoxConventions
from lat.labelling.keep_and_fuse import TargetRules, labels_of_targets
from lat.models.label_transfer_model import LabelTransferModel
from lat.stages.shared.detection import batches_of
from lat.stages.shared.transfer_model import decode_batches, images_per_batch, load_model, open_features
from lat.stages.transfer.held_out import HeldOutImages
from lat.stages.transfer.priors import find_conventions, find_prior
from lat.workspace.column_shards import ColumnShards
from lat.workspace.jobs import do_shards
from lat.workspace.label_shards import work_folder
from lat.workspace.workspace import Workspace


@dataclass(frozen=True, eq=False)
class PairEvidence:
    """What is known of a source and a target before any image is transferred; all shards share it.

    Attributes:
        conventions: how boxes of the source become boxes of the target; None where human boxes are not kept.
        prior: how their classes relate; None if it is off.
        calibration: what scores mean.
        held_out: labels of the target's held-out images, calibrated, for a filter that needs them.
    """

    conventions: BoxConventions | None
    prior: ClassPrior | None
    calibration: Calibration = field(default_factory=Calibration)
    held_out: Sequence[LabeledBoxes] = ()

    def rules(self, workspace: Workspace, target: str) -> TargetRules:
        """How decoded proposals become labels of the target, not calibrated; on the run's device."""
        settings, space = workspace.config.transfer, workspace.data.space(target)
        rules = TargetRules(space, settings.decode, settings.combine, self.conventions, self.prior)
        return rules.to(workspace.fabric.device)

    def calibrated(self, boxes: LabeledBoxes) -> LabeledBoxes:
        return replace(boxes, scores=self.calibration(boxes.scores))


def gather_evidence(workspace: Workspace, source: str, target: str, inputs: str) -> PairEvidence:
    """What is known of a source and a target: the same in all processes of the run, which all call this.

    Scores are calibrated on the target's held-out images, if any.

    Args:
        workspace: the run.
        source: the dataset whose labels are transferred.
        target: the dataset in whose space.
        inputs: hash of all that the transfer depends on.
    """
    settings, one_for_all = workspace.config.transfer, workspace.processes.from_first
    conventions = one_for_all(find_conventions, workspace, source, target) if settings.combine.keep else None
    known = PairEvidence(conventions, one_for_all(find_prior, workspace, source, target))
    calibrates = settings.calibration != "none" and workspace.data.validation_part(target) is not None
    if not calibrates and not settings.filter.needs_held_out:
        return known
    judged = do_shards(workspace, JudgedShards, source=source, target=target, inputs=inputs, known=known)
    return one_for_all(judged.learn, calibrates)


def evidence_folder(workspace: Workspace, source: str, target: str) -> Path:
    """Where shards of evidence are until labels are written."""
    return work_folder(workspace.paths.root, workspace.paths.transferred(source, target)) / "evidence"


class JudgedShards:
    """The labels of a target's held-out images, as if they were images of a source, that can be compared with the truth; see
    `ShardJob`.
    """

    is_preparation = True

    def __init__(self, workspace: Workspace, *, source: str, target: str, inputs: str, known: PairEvidence) -> None:
        self.workspace, self.target, self.known = workspace, target, known
        self.held_out = HeldOutImages(workspace, source, target, known.prior)
        self.batches = in_shards(batches_of(range(len(self.held_out)), images_per_batch(workspace)))
        self.sizes = sizes_of(self.batches)
        self.title = f"transfer {source} to {target}: held-out images"
        self.shards = ColumnShards(evidence_folder(workspace, source, target) / "held-out_images", inputs)

    def is_done(self, shard: int) -> bool:
        return self.shards.has(shard)

    def run(self, shard: int, advance: Advance = uncounted) -> list[Path]:
        batches, each = self.batches[shard], [self.target]
        features = self.held_out.features
        decoded = decode_batches(self.workspace, self._model, self.held_out.transfer_input, batches, each, features)
        found = []
        for images, batch in zip(batches, decoded, strict=True):
            found.append(self._columns(batch[self.target], images.start))
            advance(len(images))
        joined = {name: np.concatenate([columns[name] for columns in found]) for name in found[0]}
        return [self.shards.write(shard, joined)]

    def _columns(self, decoded: DecodedProposals, first: int) -> dict[str, np.ndarray]:
        """What is kept of a batch of images from index `first` on."""
        ((boxes, rows),) = labels_of_targets([(decoded, self._rules)])
        counts = decoded.counts(rows)
        on_stand_in = (decoded.on_host.support[rows] >= 0).split(counts)
        judged = self.held_out.judged(list(zip(boxes.split(counts), on_stand_in, strict=True)), first)
        return {
            "image": np.repeat(np.arange(first, first + len(judged)), [len(one) for one in judged]),
            **{name: torch.cat([getattr(one, name) for one in judged]).numpy() for name in ("boxes_xyxy", "labels", "scores")},
        }

    def learn(self, calibrates: bool) -> PairEvidence:
        """What is known, with a calibration and what a filter needs."""
        settings, known, judged = self.workspace.config.transfer, self.known, self._per_image()
        if calibrates:
            known = replace(known, calibration=self.held_out.calibration(judged, settings.calibration))
        if settings.filter.needs_held_out:
            known = replace(known, held_out=[known.calibrated(boxes) for boxes in judged])
        return known

    def _per_image(self) -> list[LabeledBoxes]:
        columns = self.shards.read(len(self.sizes))
        if not columns:
            return []
        found, space = (
            {name: torch.from_numpy(column) for name, column in columns.items()},
            self.workspace.data.space(self.target),
        )
        boxes = LabeledBoxes(found["boxes_xyxy"], found["labels"], space, found["scores"])
        return boxes.split(torch.bincount(found["image"], minlength=len(self.held_out)).tolist())

    @cached_property
    def _rules(self) -> TargetRules:
        return self.known.rules(self.workspace, self.target)

    @cached_property
    def _model(self) -> LabelTransferModel:
        return load_model(self.workspace, open_features(self.workspace))
