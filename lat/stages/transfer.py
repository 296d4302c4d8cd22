"""Write each source's labels in the space of each target: `transferred/S.T.json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import Tensor

from lat.config import part_of
from lat.data.coco import write_labels
from lat.engine.progress import track
from lat.label_space import JointLabelSpace
from lat.models.label_transfer import LabelTransferModel
from lat.pseudo.conventions import BoxConventions
from lat.pseudo.fusion import DecodedProposals, DecodeSettings, FuseSettings, labels_of
from lat.pseudo.priors import RelationPrior, fit_relation_prior
from lat.stages.label_transfer import TransferItems, load_model, open_features
from lat.stages.protocols import compare_conventions, count_all_relations
from lat.stages.workspace import Workspace
from lat.structures import LabeledBoxes, Origin, Proposals

RELATION_IMAGES = 2000  # relation priors are learnt on about as many images of a source, evenly spread
Transferred = tuple[LabeledBoxes, list[dict[str, Any]]]
DecodedImage = dict[str, DecodedProposals]  # by target


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the whole of a source tells about each of its boxes, in one target."""

    conventions: BoxConventions
    prior: RelationPrior


def transfer(workspace: Workspace, source: str, targets: Sequence[str]) -> None:
    """Transfer the labels of the training images of `source` into the space of each target, with the one trained model.

    Source: Label-Aligned Transfer, section 3.3 (logits masked to the target label space); what a whole dataset tells about its
    boxes (`lat.pseudo`) is ours.
    """
    part = workspace.train_part(source)
    decoder = _Decoder(workspace, source, targets)
    every = ceil(len(part) / RELATION_IMAGES)
    with track(len(part), f"transfer {source} to {', '.join(targets)}") as progress:
        sample = list(decoder.decode(range(0, len(part), every)))
        evidence = {target: _gather_evidence(workspace, source, target, sample) for target in targets}
        written: dict[str, list[Transferred]] = {target: [] for target in targets}
        for image in sample if every == 1 else decoder.decode(range(len(part))):
            for target, decoded in image.items():
                written[target].append(_labels_with_provenance(workspace, target, decoded, evidence[target]))
            progress.advance(1)
    info = workspace.label_info("label_transfer", workspace.transfer_model)
    for target, labels in written.items():
        write_labels(
            workspace.transferred(source, target),
            part.labels,
            workspace.space(target),
            [boxes for boxes, _ in labels],
            info=info,
            provenance=[origins for _, origins in labels],
        )


class _Decoder:
    """The trained model on the training images of one source."""

    def __init__(self, workspace: Workspace, source: str, targets: Sequence[str]) -> None:
        features = open_features(workspace)
        self.workspace, self.source, self.targets = workspace, source, targets
        self.model: LabelTransferModel = load_model(workspace, features)
        workspace.fabric.to_device(self.model)
        self.items = TransferItems(workspace, features, [source])

    def decode(self, images: Sequence[int]) -> Iterator[DecodedImage]:
        """What the model says of the proposals of each image, by target, on the CPU."""
        batch_size = self.workspace.config.transfer.batch_size
        for start in range(0, len(images), batch_size):
            batch = [self.items.transfer_input(self.source, i) for i in images[start : start + batch_size]]
            with torch.no_grad(), self.workspace.fabric.autocast():
                decoded = self.model.decode([one.to(self.workspace.fabric.device) for one in batch], self.targets)
            for i in range(len(batch)):
                yield {target: decoded[target][i].to("cpu") for target in self.targets}


def _gather_evidence(workspace: Workspace, source: str, target: str, images: Sequence[DecodedImage]) -> Evidence:
    """Conventions and relation prior of a source in a target, as far as the settings use them."""
    settings = workspace.config.transfer
    num_source, num_target = len(workspace.space(source)), len(workspace.space(target))
    conventions, prior = BoxConventions.unknown(num_source, num_target), RelationPrior.flat(num_source, num_target)
    if settings.keep:
        conventions = compare_conventions(workspace, source, target)
    if settings.relation_prior:
        decoded = [image[target] for image in images]
        scores = torch.cat([one.class_scores[one.own_rows] for one in decoded])
        labels = torch.cat([one.source_labels[one.own_rows] for one in decoded])
        prior = fit_relation_prior(count_all_relations(workspace, source, target), scores, labels)
    return Evidence(conventions, prior)


def _labels_with_provenance(workspace: Workspace, target: str, decoded: DecodedProposals, evidence: Evidence) -> Transferred:
    settings = workspace.config.transfer
    boxes, rows = labels_of(
        decoded,
        workspace.space(target),
        part_of(settings, DecodeSettings),
        part_of(settings, FuseSettings),
        evidence.conventions,
        evidence.prior,
    )
    return boxes, provenance_of(decoded.proposals, rows, workspace.joint)


def provenance_of(proposals: Proposals, rows: Tensor, joint: JointLabelSpace) -> list[dict[str, Any]]:
    """For each of `rows` (N,), the proposal from which a box came: its origin, its space, and its id in that file."""
    chosen = proposals[rows]
    ids = chosen.annotation_ids.tolist()
    return [
        {"origin": Origin(origin).name.lower(), "space": joint.names[space], "annotation_id": ids[i] if ids[i] > 0 else None}
        for i, (origin, space) in enumerate(zip(chosen.origin.tolist(), chosen.space_index.tolist(), strict=True))
    ]
