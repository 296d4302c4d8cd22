"""Label transfer as in the paper: the model's boxes alone, without anything that a whole dataset tells about them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lat.core.structures import LabeledBoxes
from lat.labelling.keep_and_fuse import labels_of
from lat.labelling.labelling_settings import DecodeSettings
from lat.models.label_transfer_model import LabelTransferModel, TransferInput


def transfer_labels(
    model: LabelTransferModel, images: Sequence[TransferInput], targets: Sequence[str], settings: DecodeSettings
) -> dict[str, list[tuple[LabeledBoxes, Tensor]]]:
    """Labels of every image in each target space, as in the paper, in pixels of the original image.

    Returns:
        For each target space, B pairs: N boxes (highest score first), and the (N,) int64 row of the proposal from which each
        came.

    Source: Label-Aligned Transfer, section 3.3 (logits masked to the target label space).
    """
    labels: dict[str, list[tuple[LabeledBoxes, Tensor]]] = {}
    for target, decoded in model.decode(images, targets).items():
        boxes, rows = labels_of(decoded, model.joint.spaces[model.joint.index(target)], settings)
        of_image = decoded.on_host.images
        rows, counts = rows - torch.searchsorted(of_image, of_image[rows]), decoded.counts(rows)
        labels[target] = list(zip(boxes.split(counts), rows.split(counts), strict=True))
    return labels
