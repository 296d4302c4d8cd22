"""Write each source's labels in the space of each target: `transferred/S.T.json`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import ceil
from typing import Any

import torch
from torch import Tensor

from lat.data.coco import write_labels
from lat.engine.progress import track
from lat.label_space import JointLabelSpace
from lat.models.label_transfer import LabelTransferModel, TransferInput
from lat.pseudo.calibration import Calibration, CalibrationSettings
from lat.pseudo.fusion import DecodedProposals, DecodeSettings, FuseSettings, labels_of
from lat.sections import part_of
from lat.stages.calibrate import HeldOutImages
from lat.stages.label_filters import choose_labels
from lat.stages.label_transfer import TransferItems, load_model, open_features
from lat.stages.priors import PriorRecord, find_prior
from lat.stages.protocols import compare_conventions
from lat.stages.workspace import Workspace
from lat.structures import LabeledBoxes, Origin, Proposals

RELATION_IMAGES = 2000  # relation priors are learnt on about as many images of a source, evenly spread
DecodedImage = dict[str, DecodedProposals]  # by target


def transfer(workspace: Workspace, source: str, targets: Sequence[str]) -> None:
    """Transfer the labels of the training images of `source` into the space of each target, with the one trained model.

    Source: Label-Aligned Transfer, section 3.3 (logits masked to the target label space); what a whole dataset tells about its
    boxes (`lat.pseudo`) is ours.
    """
    part = workspace.train_part(source)
    features = open_features(workspace)
    model = load_model(workspace, features)
    workspace.fabric.to_device(model)
    items = TransferItems(workspace, features, [source])

    def decode(images: Sequence[int]) -> Iterator[DecodedImage]:
        inputs = (items.transfer_input(source, i) for i in images)
        return _decode(workspace, model, inputs, targets)

    every = ceil(len(part) / RELATION_IMAGES)
    with track(len(part), f"transfer {source} to {', '.join(targets)}") as progress:
        sample = list(decode(range(0, len(part), every)))
        writers = {target: _Writer(workspace, source, target, [image[target] for image in sample]) for target in targets}
        for writer in writers.values():
            writer.learn_from_held_out(model)
        for image in sample if every == 1 else decode(range(len(part))):
            for target, decoded in image.items():
                writers[target].add(decoded)
            progress.advance(1)
    for writer in writers.values():
        writer.write()


class _Writer:
    """The labels of one source in one target: what the whole source tells about each of its boxes, and what becomes of them."""

    def __init__(self, workspace: Workspace, source: str, target: str, sample: Sequence[DecodedProposals]) -> None:
        self.workspace, self.source, self.target = workspace, source, target
        self.settings, self.space = workspace.config.transfer, workspace.space(target)
        self.conventions = compare_conventions(workspace, source, target) if self.settings.keep else None
        self.prior = find_prior(workspace, source, target, sample)
        self.calibration = Calibration()
        self.held_out: list[LabeledBoxes] = []
        self.boxes: list[LabeledBoxes] = []
        self.provenance: list[list[dict[str, Any]]] = []

    def learn_from_held_out(self, model: LabelTransferModel) -> None:
        """Fit scores to the target's held-out images, if it has any, and keep their labels for a filter that asks for them."""
        calibrates = self.settings.calibration != "none" and self.workspace.validation_part(self.target) is not None
        if not calibrates and not self.settings.filter.needs_held_out:
            return
        held_out = HeldOutImages(self.workspace, self.source, self.target, self.prior)
        inputs = (held_out.transfer_input(i) for i in range(len(held_out)))
        labels = []
        for image in _decode(self.workspace, model, inputs, [self.target]):
            boxes, rows = self._labels(image[self.target])
            labels.append((boxes, (image[self.target].support() >= 0)[rows]))
        judged = held_out.judged(labels)
        if calibrates:
            self.calibration = held_out.calibration(judged, part_of(self.settings, CalibrationSettings))
        if self.settings.filter.needs_held_out:
            self.held_out = [self._calibrated(boxes) for boxes in judged]

    def add(self, decoded: DecodedProposals) -> None:
        """The labels of the next image."""
        boxes, rows = self._labels(decoded)
        self.boxes.append(self._calibrated(boxes))
        origins = provenance_of(decoded.proposals, rows, self.workspace.joint)
        if self.prior is not None:
            record = PriorRecord(self.prior, self.workspace.space(self.source), self.settings.score_threshold)
            origins = [{**one, **prior} for one, prior in zip(origins, record.entries(decoded, boxes, rows), strict=True)]
        self.provenance.append(origins)

    def _calibrated(self, boxes: LabeledBoxes) -> LabeledBoxes:
        return replace(boxes, scores=self.calibration(boxes.scores))

    def _labels(self, decoded: DecodedProposals) -> tuple[LabeledBoxes, Tensor]:
        """The labels of an image, and the (N,) rows of their proposals."""
        decode, fuse = part_of(self.settings, DecodeSettings), part_of(self.settings, FuseSettings)
        return labels_of(decoded, self.space, decode, fuse, self.conventions, self.prior)

    def write(self) -> None:
        """Write `transferred/S.T.json`."""
        info = self.workspace.label_info("label_transfer", self.workspace.transfer_model)
        kept = choose_labels(self.workspace, self.target, self.boxes, self.settings.filter, self.held_out, scored_by_class=False)
        write_labels(
            self.workspace.transferred(self.source, self.target),
            self.workspace.train_part(self.source).labels,
            self.space,
            kept.boxes(self.boxes),
            info={**info, "calibration": self.calibration.to_dict(), **kept.info},
            provenance=kept.rows(self.provenance),
        )


def _decode(
    workspace: Workspace, model: LabelTransferModel, images: Iterable[TransferInput], targets: Sequence[str]
) -> Iterator[DecodedImage]:
    """What the model says of the proposals of each image, by target, on the CPU."""
    rest = iter(images)
    while batch := list(islice(rest, workspace.config.transfer.batch_size)):
        with torch.no_grad(), workspace.fabric.autocast():
            decoded = model.decode([one.to(workspace.fabric.device) for one in batch], targets)
        for i in range(len(batch)):
            yield {target: decoded[target][i].to("cpu") for target in targets}


def provenance_of(proposals: Proposals, rows: Tensor, joint: JointLabelSpace) -> list[dict[str, Any]]:
    """For each of `rows` (N,), the proposal from which a box came: its origin, its space, and its id in that file."""
    chosen = proposals[rows]
    ids = chosen.annotation_ids.tolist()
    return [
        {"origin": Origin(origin).name.lower(), "space": joint.names[space], "annotation_id": ids[i] if ids[i] > 0 else None}
        for i, (origin, space) in enumerate(zip(chosen.origin.tolist(), chosen.space_index.tolist(), strict=True))
    ]
