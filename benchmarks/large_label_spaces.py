"""Memory of LVIS (1,203 classes) and Objects365 (365) side by side: what grows with the classes of all label spaces, and of two.

    python benchmarks/large_label_spaces.py [--proposals 300] [--json FILE]

The sizes are those of tensors that the package makes, for one image with so many proposals.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from markdown import Row, print_rows
from torch import Tensor

from lat.core.label_space import JointLabelSpace, LabelSpace
from lat.labelling.class_shares import count_pairs, equal_shares
from lat.labelling.conventions import BoxConventions
from lat.labels.class_scores import TopScores, class_scores_of
from lat.labels.table import LabelTable
from lat.models.heads import TransferPredictor
from lat.models.label_transfer_model import decode_inside_images
from lat.models.model_settings import HeadSettings

SPACES = (("lvis", 1203), ("objects365", 365))


def sizes(num_proposals: int) -> Iterator[Row]:
    """A row for each thing that grows with the classes."""
    joint = JointLabelSpace(tuple(LabelSpace.from_names(name, [f"{name} {i}" for i in range(count)]) for name, count in SPACES))
    source, target = joint.spaces[1], joint.spaces[0]
    scores = torch.rand(num_proposals, len(joint))
    yield _row("image", "class scores of proposals over all classes", scores)
    yield _row("image", "mask of a target's classes", joint.mask("lvis"))
    predictor = TransferPredictor(HeadSettings().dim, len(joint), len(joint) + 1)
    with torch.no_grad():
        logits, deltas = predictor(torch.zeros(num_proposals, HeadSettings().dim))
    yield _row("image", "logits", logits)
    yield _row("image", "box deltas, a box per class", deltas)
    boxes, sizes_hw = torch.tensor([[0.0, 0.0, 9.0, 9.0]]).repeat(num_proposals, 1), torch.full((num_proposals, 2), 640)
    yield _row("image", "decoded boxes in LVIS", decode_inside_images(deltas[:, joint.slice("lvis")], boxes, sizes_hw))
    yield _row("model", "weights of classes and deltas", *predictor.parameters())
    shares, counts = equal_shares(source, target).shares, count_pairs(_no_labels(source), _no_labels(target))
    yield _row("pair of datasets", "class shares, and the counts that they are made from", shares, counts)
    unknown = BoxConventions.unknown(len(source), len(target))
    yield _row("pair of datasets", "box conventions", *(getattr(unknown, field.name) for field in fields(unknown)))
    vectors = np.random.default_rng(0).random((1000, len(target)), dtype=np.float32)
    top = class_scores_of(vectors, vectors.argmax(axis=1))
    assert isinstance(top, TopScores)
    yield _row("1,000 labels", "class scores in LVIS as they are kept", *map(torch.from_numpy, top.columns().values()))
    yield _row("1,000 labels", "class scores in LVIS as whole vectors", torch.from_numpy(vectors))


def _row(each: str, what: str, *tensors: Tensor) -> Row:
    return {"for each": each, "what": what, "MB": f"{sum(one.numel() * one.element_size() for one in tensors) / 1e6:.2f}"}


def _no_labels(space: LabelSpace) -> LabelTable:
    """No labels on no image."""
    whole, real = np.zeros(0, np.int64), np.zeros(0, np.float32)
    return LabelTable(
        path=Path("none"),
        space=space,
        image_ids=whole,
        file_names=(),
        sizes_hw=whole.reshape(0, 2),
        splits=(),
        offsets=np.zeros(1, np.int64),
        boxes_xyxy=real.reshape(0, 4),
        labels=whole,
        scores=real,
        is_crowd=whole > 0,
        annotation_ids=whole,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proposals", type=int, default=300)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print_rows("large_label_spaces", list(sizes(options.proposals)), options.json)


if __name__ == "__main__":
    main()
