"""Write each source's labels in the space of each target: `transferred/S.T.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lat.config import TransferSettings, part_of
from lat.data.coco import write_labels
from lat.engine.progress import track
from lat.label_space import JointLabelSpace
from lat.models.label_transfer import DecodeSettings, LabelTransferModel, TransferInput
from lat.stages.label_transfer import TransferItems, load_model, open_features
from lat.stages.workspace import Workspace
from lat.structures import LabeledBoxes, Origin, Proposals

Transferred = tuple[LabeledBoxes, list[dict[str, Any]]]


def transfer(workspace: Workspace, source: str, targets: Sequence[str]) -> None:
    """Transfer the labels of the training images of `source` into the space of each target, with the one trained model.

    Source: Label-Aligned Transfer, section 3.3 (logits masked to the target label space).
    """
    features = open_features(workspace)
    model = load_model(workspace, features)
    workspace.fabric.to_device(model)
    items = TransferItems(workspace, features, [source])
    settings = workspace.config.transfer
    part = workspace.train_part(source)
    written: dict[str, list[Transferred]] = {target: [] for target in targets}
    with track(len(part), f"transfer {source} to {', '.join(targets)}") as progress:
        for start in range(0, len(part), settings.batch_size):
            images = [items.transfer_input(source, i) for i in range(start, min(start + settings.batch_size, len(part)))]
            for target, labels in _transfer_batch(workspace, model, images, targets, settings).items():
                written[target] += labels
            progress.advance(len(images))
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


def _transfer_batch(
    workspace: Workspace,
    model: LabelTransferModel,
    images: list[TransferInput],
    targets: Sequence[str],
    settings: TransferSettings,
) -> dict[str, list[Transferred]]:
    on_device = [image.to(workspace.fabric.device) for image in images]
    with torch.no_grad(), workspace.fabric.autocast():
        transferred = model.transfer(on_device, targets, part_of(settings, DecodeSettings))
    return {
        target: [
            (boxes.to("cpu"), provenance_of(image.proposals, rows.cpu(), workspace.joint))
            for image, (boxes, rows) in zip(images, pairs, strict=True)
        ]
        for target, pairs in transferred.items()
    }


def provenance_of(proposals: Proposals, rows: Tensor, joint: JointLabelSpace) -> list[dict[str, Any]]:
    """For each of `rows` (N,), the proposal from which a box came: its origin, its space, and its id in that file."""
    chosen = proposals[rows]
    ids = chosen.annotation_ids.tolist()
    return [
        {"origin": Origin(origin).name.lower(), "space": joint.names[space], "annotation_id": ids[i] if ids[i] > 0 else None}
        for i, (origin, space) in enumerate(zip(chosen.origin.tolist(), chosen.space_index.tolist(), strict=True))
    ]
