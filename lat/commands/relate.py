"""Find how the classes of the datasets relate, from images: `relations/A.B.json` for each pair of label spaces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from lat.core.files import write_atomically
from lat.core.structures import LabeledBoxes
from lat.data.dataset import DetectionDataset
from lat.engine.progress import track
from lat.models.backbones.frozen import pool_regions
from lat.relations.find import find_relations
from lat.relations.relation_matrix import RelationMatrix
from lat.relations.reviewed_file import from_yaml, to_yaml
from lat.relations.samples import LabeledSamples, image_samples
from lat.stages.shared.transfer_model import open_features
from lat.workspace.workspace import Workspace

POOLED_SIZE = 3  # side of the RoIAlign grid over a box
CROP_SIZE = 48  # pixels of a side to which each crop is resized


def relate(workspace: Workspace) -> list[RelationMatrix]:
    """Find, or read from `relations.file`, the relations of the run's label spaces, and write one file per pair.

    Raises:
        InputError: if a class has too few boxes, the upstream model is missing, or the reviewed file is wrong.
    """
    settings = workspace.config.relations
    if settings.file:
        matrices = from_yaml(Path(settings.file), [workspace.data.space(name) for name in workspace.names])
    else:
        read_samples = crop_samples if settings.features == "crops" else region_samples
        samples = {name: read_samples(workspace, name) for name in workspace.names}
        pairs = list(combinations(workspace.names, 2))
        matrices = []
        with track(len(pairs), f"relations by {settings.method}") as progress:
            for a, b in pairs:
                matrices.append(find_relations(samples[a], samples[b], settings, workspace.config.seed))
                progress.advance(1)
    for matrix in matrices:
        content = json.dumps(matrix.to_dict(), indent=2, allow_nan=False) + "\n"
        write_atomically(workspace.paths.relations(matrix.first.name, matrix.second.name), content)
    return matrices


def write_review(workspace: Workspace, matrices: list[RelationMatrix]) -> Path:
    """Write the relations as YAML for a person to edit; returns its path."""
    write_atomically(workspace.paths.relations_review, to_yaml(matrices))
    return workspace.paths.relations_review


def region_samples(workspace: Workspace, dataset: str) -> LabeledSamples:
    """Frozen features (N, C, S, S) over the ground-truth boxes of a dataset's training images; don't-care boxes are left out.

    Raises:
        InputError: if a class has fewer than two boxes.
    """
    features, part = open_features(workspace), workspace.data.train_part(dataset)
    pooled, labels = [], []
    for i, boxes in _counted_boxes(part, f"box features of {dataset}"):
        one, scales = features.get(dataset, i)[None], [features.scales(dataset, i)]
        pooled.append(pool_regions(one, [boxes.boxes_xyxy], scales, POOLED_SIZE))
        labels.append(boxes.labels)
    return LabeledSamples(torch.cat(pooled), torch.cat(labels), part.space)


def crop_samples(workspace: Workspace, dataset: str) -> LabeledSamples:
    """Crops (N, 3, S, S) of the ground-truth boxes of a dataset's training images; don't-care boxes are left out.

    Raises:
        InputError: if a class has fewer than two boxes.
    """
    part, labels = workspace.data.train_part(dataset), []
    crops: list[Tensor] = []
    for i, boxes in _counted_boxes(part, f"crops of {dataset}"):
        image = part.image(i)
        size_hw = torch.tensor(image.shape[1:])
        corners = torch.cat([boxes.boxes_xyxy[:, :2].floor(), boxes.boxes_xyxy[:, 2:].ceil()], dim=1).long()
        corners = torch.minimum(corners.clamp(min=0), size_hw.flip(0).repeat(2))
        crops += [image[:, y1:y2, x1:x2] for x1, y1, x2, y2 in corners.tolist()]
        labels += boxes.labels.tolist()
    return image_samples(crops, labels, part.space, CROP_SIZE)


def _counted_boxes(part: DetectionDataset, title: str) -> Iterator[tuple[int, LabeledBoxes]]:
    """Each image that has boxes other than don't-care ones, and those boxes, with progress."""
    with track(len(part), title) as progress:
        for i in range(len(part)):
            boxes = part.boxes(i)
            boxes = boxes[boxes.weights > 0]
            if len(boxes):
                yield i, boxes
            progress.advance(1)
