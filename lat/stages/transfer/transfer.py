"""Write each source's labels in the space of each target: `transferred/S.T.json`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from math import ceil
from typing import Any

from torch import Tensor

from lat.core.decoded_proposals import Decoded, DecodedProposals
from lat.core.label_space import JointLabelSpace
from lat.core.origin import Origin
from lat.core.structures import LabeledBoxes, Proposals
from lat.engine.announce import say
from lat.engine.progress import track
from lat.labelling.box_pairs import BoxPairs
from lat.labelling.calibration import Calibration
from lat.labelling.conventions import BoxConventions
from lat.labelling.estimate_conventions import with_scatter_of_target
from lat.labelling.keep_and_fuse import labels_of
from lat.labels.coco.write import write_labels
from lat.models.label_transfer_model import LabelTransferModel
from lat.stages.shared.detection import batches_of
from lat.stages.shared.label_filters import choose_labels
from lat.stages.shared.transfer_model import TransferItems, decode_batches, images_per_batch, load_model, open_features
from lat.stages.transfer.evidence import compare_conventions
from lat.stages.transfer.held_out import HeldOutImages
from lat.stages.transfer.no_counterpart import what_became_of_them
from lat.stages.transfer.priors import PriorRecord, find_prior
from lat.workspace.label_files import label_info
from lat.workspace.workspace import Workspace

REDRAWN_BATCHES = 32  # of held-out images, evenly spread, that show how far the model and the target's detector differ

TracedLabels = tuple[LabeledBoxes, list[dict[str, Any]]]
"""The labels of one image and their provenance."""


def transfer(workspace: Workspace, *, source: str, due: Mapping[str, str]) -> None:
    """Transfer the labels of the training images of `source` to each target due, with the one trained model.

    If the step that learns class shares has just decoded the images, `workspace.data.decoded` has them.

    Source: Label-Aligned Transfer, section 3.3 (logits masked to the target label space); the use of dataset-wide evidence
    (`lat.labelling`) is ours.
    """
    part, processes, targets = workspace.data.train_part(source), workspace.processes, list(due)
    features = open_features(workspace)
    model = load_model(workspace, features)
    workspace.fabric.to_device(model)
    writers = {target: _Writer(workspace, source, target) for target in targets}
    for writer in writers.values():
        writer.learn_from_held_out(model)
    batches = batches_of(range(len(part)), images_per_batch(workspace))
    decoded: Iterable[Decoded] | None = workspace.data.decoded.take(workspace.paths.transfer_model, source)
    if decoded is None:
        items = TransferItems(workspace, features, [source])
        decoded = decode_batches(
            workspace, model, partial(items.transfer_input, source), processes.share(batches), targets, features
        )
    labelled = ({target: writer.label(batch[target]) for target, writer in writers.items()} for batch in decoded)
    with track(len(part), f"transfer {source} to {', '.join(targets)}") as progress:
        for labels, images in zip(processes.in_order(labelled, len(batches)), batches, strict=False):  # only the first has any
            for target, writer in writers.items():
                writer.add(labels[target])
            progress.advance(len(images))
    for writer in writers.values():
        processes.from_first(writer.write)


class _Writer:
    """Labels one source for one target: dataset-wide evidence first, then labels batch by batch, then the file.

    Call the public methods in the order in which they are defined.
    """

    def __init__(self, workspace: Workspace, source: str, target: str) -> None:
        self.workspace, self.source, self.target = workspace, source, target
        self.settings, self.space = workspace.config.transfer, workspace.data.space(target)
        one_for_all = workspace.processes.from_first
        self.conventions = one_for_all(compare_conventions, workspace, source, target) if self.settings.combine.keep else None
        self.prior = one_for_all(find_prior, workspace, source, target)
        self.record: PriorRecord | None = None
        if self.prior is not None:
            self.record = PriorRecord(self.prior, self.settings.decode.written_threshold)
        self.calibration = Calibration()
        self.held_out: list[LabeledBoxes] = []
        self.boxes: list[LabeledBoxes] = []
        self.provenance: list[list[dict[str, Any]]] = []

    def learn_from_held_out(self, model: LabelTransferModel) -> None:
        """Calibrate scores on the target's held-out images, if any, and keep their labels for a filter that needs them."""
        calibrates = self.settings.calibration != "none" and self.workspace.data.validation_part(self.target) is not None
        if not calibrates and not self.settings.filter.needs_held_out and self.conventions is None:
            return
        held_out, processes = HeldOutImages(self.workspace, self.source, self.target, self.prior), self.workspace.processes
        batches = batches_of(range(len(held_out)), images_per_batch(self.workspace))

        def decoded(batches: Sequence[range]) -> Iterator[DecodedProposals]:
            share, each = processes.share(batches), [self.target]
            for batch in decode_batches(self.workspace, model, held_out.transfer_input, share, each, held_out.features):
                yield batch[self.target]

        if self.conventions is not None:
            self.conventions = self._with_scatter_of_target(self.conventions, decoded, batches)
        if not calibrates and not self.settings.filter.needs_held_out:
            return
        mine = map(self._label_held_out, decoded(batches))
        title = f"transfer {self.source} to {self.target}: held-out images"
        with track(sum(map(len, processes.share(batches))), title, after_seconds=2) as progress:
            labels = list(chain.from_iterable(processes.in_order(progress.count(mine), len(batches))))
        self.calibration = processes.from_first(self._fit_to_held_out, held_out, labels, calibrates)

    def label(self, decoded: DecodedProposals) -> list[TracedLabels]:
        """The labels of each image of a batch and their provenance."""
        boxes, rows = self._labels(decoded)
        counts = decoded.counts(rows)
        provenance = provenance_of(decoded.proposals, rows, self.workspace.data.joint)
        if self.record is not None:
            priors = self.record.entries(decoded, boxes, rows)
            provenance = [{**origin, **prior} for origin, prior in zip(provenance, priors, strict=True)]
        entries = iter(provenance)
        return [(one, list(islice(entries, len(one)))) for one in self._calibrated(boxes).split(counts)]

    def add(self, labels: Sequence[TracedLabels]) -> None:
        """Keep the labels of the next images for `write`."""
        for boxes, provenance in labels:
            self.boxes.append(boxes)
            self.provenance.append(provenance)

    def write(self) -> None:
        """Write `transferred/S.T.json`, and say which source classes have no counterpart."""
        info = label_info(self.workspace, "label_transfer", self.workspace.paths.transfer_model)
        kept = choose_labels(self.workspace, self.target, self.boxes, self.settings.filter, self.held_out, scored_by_class=False)
        labels = kept.boxes(self.boxes)
        write_labels(
            self.workspace.paths.transferred(self.source, self.target),
            self.workspace.data.train_part(self.source).labels,
            self.space,
            labels,
            info={**info, "calibration": self.calibration.to_dict(), **kept.info},
            provenance=kept.rows(self.provenance),
        )
        if line := what_became_of_them(self.workspace, self.source, self.target, labels):
            say(line)

    def _with_scatter_of_target(
        self, known: BoxConventions, decoded: Callable[[Sequence[range]], Iterator[DecodedProposals]], batches: Sequence[range]
    ) -> BoxConventions:
        """The conventions, given what the model redraws of detections on some held-out images, the same in all processes."""
        some = batches[:: ceil(len(batches) / REDRAWN_BATCHES)] if batches else batches
        redrawn = (BoxPairs.redrawn(each, self.settings.combine.sure_threshold) for each in decoded(some))
        pairs = self.workspace.processes.in_order(redrawn, len(some), everywhere=True)
        return with_scatter_of_target(known, BoxPairs.joined(pairs))

    def _label_held_out(self, decoded: DecodedProposals) -> list[tuple[LabeledBoxes, Tensor]]:
        """The labels of each held-out image, and (N,) bool: whether each lies on a stand-in for a human box."""
        boxes, rows = self._labels(decoded)
        counts = decoded.counts(rows)
        return list(zip(boxes.split(counts), (decoded.support[rows] >= 0).split(counts), strict=True))

    def _fit_to_held_out(
        self, held_out: HeldOutImages, labels: Sequence[tuple[LabeledBoxes, Tensor]], calibrates: bool
    ) -> Calibration:
        """Fit the calibration; only the first process calls this and keeps the judged labels for the filter."""
        judged = held_out.judged(labels)
        if calibrates:
            self.calibration = held_out.calibration(judged, self.settings.calibration)
        if self.settings.filter.needs_held_out:
            self.held_out = [self._calibrated(boxes) for boxes in judged]
        return self.calibration

    def _calibrated(self, boxes: LabeledBoxes) -> LabeledBoxes:
        return replace(boxes, scores=self.calibration(boxes.scores))

    def _labels(self, decoded: DecodedProposals) -> tuple[LabeledBoxes, Tensor]:
        """The labels of a batch of images, and the (N,) rows of their proposals."""
        decoding, combining = self.settings.decode, self.settings.combine
        return labels_of(decoded, self.space, decoding, combining, self.conventions, self.prior)


def provenance_of(proposals: Proposals, rows: Tensor, joint: JointLabelSpace) -> list[dict[str, Any]]:
    """For each of `rows` (N,), the proposal that a box came from: its origin, its space and its annotation id."""
    chosen = proposals[rows]
    ids = chosen.annotation_ids.tolist()
    return [
        {"origin": Origin(origin).name.lower(), "space": joint.names[space], "annotation_id": ids[i] if ids[i] > 0 else None}
        for i, (origin, space) in enumerate(zip(chosen.origin.tolist(), chosen.space_index.tolist(), strict=True))
    ]
