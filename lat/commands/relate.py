"""Find how the classes of the datasets relate, from images: `relations/A.B.json` for each pair of label spaces."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from lat.core.files import write_atomically
from lat.data.dataset import DetectionDataset
from lat.data.read_ahead import read_ahead
from lat.engine import announce
from lat.engine.progress import track
from lat.labels.table import LabelTable
from lat.models.backbones.frozen import pool_regions
from lat.relations.find import find_relations
from lat.relations.relation_matrix import RelationMatrix
from lat.relations.relation_settings import RelationTraining
from lat.relations.reviewed_file import from_yaml, to_yaml
from lat.relations.samples import LabeledSamples, draw_evenly, image_samples
from lat.stages.shared.transfer_model import open_features
from lat.workspace.reading import reading_threads
from lat.workspace.run_folder import at_work_in
from lat.workspace.workspace import Workspace

IMAGES_AT_ONCE = 8  # through the frozen backbone
POOLED_SIZE = 3  # side of the RoIAlign grid over a box
CROP_SIZE = 48  # pixels of a side to which each crop is resized
MOST_BYTES = 2**30
"""Memory that the samples of one dataset may take."""

TRAINING = RelationTraining()
"""How models are trained from which relations are read."""


def relate(workspace: Workspace) -> list[RelationMatrix]:
    """Find, or read from `relations.file`, the relations of the run's label spaces, and write one file per pair.

    Raises:
        InputError: if a class has too few boxes, the upstream model is missing, the reviewed file is wrong, or another command
            is at work in the folder of the run.
    """
    with at_work_in(workspace.config.output_dir):
        return _relate(workspace)


def _relate(workspace: Workspace) -> list[RelationMatrix]:
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
                matrices.append(find_relations(samples[a], samples[b], settings, workspace.config.seed, TRAINING))
                progress.advance(1)
    for matrix in matrices:
        content = json.dumps(matrix.to_dict(), indent=2, allow_nan=False) + "\n"
        write_atomically(workspace.paths.relations(matrix.first.name, matrix.second.name), content)
    return matrices


def write_review(workspace: Workspace, matrices: list[RelationMatrix]) -> Path:
    """Write the relations as YAML for a person to edit; returns its path."""
    with at_work_in(workspace.config.output_dir):
        write_atomically(workspace.paths.relations_review, to_yaml(matrices))
    return workspace.paths.relations_review


def region_samples(workspace: Workspace, dataset: str) -> LabeledSamples:
    """Frozen features (N, C, S, S) over ground-truth boxes of a dataset's training images; don't-care boxes are left out.

    They take at most `MOST_BYTES` of memory for each dataset: where all boxes would take more, `draw_evenly` chooses N of them.

    Raises:
        InputError: if a class has fewer than two boxes.
    """
    features, part = open_features(workspace), workspace.data.train_part(dataset)
    shape = (features.backbone.channels, POOLED_SIZE, POOLED_SIZE)
    boxes = _drawn_boxes(workspace, part, shape)
    pooled = torch.empty(boxes.num_boxes, *shape)
    filled = [i for i in range(len(part)) if boxes.rows(i).start < boxes.rows(i).stop]
    batches = [filled[start : start + IMAGES_AT_ONCE] for start in range(0, len(filled), IMAGES_AT_ONCE)]
    loaded = read_ahead(partial(features.load, dataset), batches, reading_threads(workspace))
    with track(len(filled), f"box features of {dataset}") as progress:
        for batch, images in zip(batches, loaded, strict=True):
            for i, one in zip(batch, features.complete(images), strict=True):
                rows, scales = boxes.rows(i), [features.scales(dataset, i)]
                corners = torch.from_numpy(boxes.boxes_xyxy[rows]).to(one.device)
                pooled[rows] = pool_regions(one[None], [corners], scales, POOLED_SIZE)
            progress.advance(len(batch))
    return LabeledSamples(pooled, torch.from_numpy(boxes.labels), part.space)


def crop_samples(workspace: Workspace, dataset: str) -> LabeledSamples:
    """Crops (N, 3, S, S) of ground-truth boxes of a dataset's training images, bounded as `region_samples` are.

    Raises:
        InputError: if a class has fewer than two boxes.
    """
    part = workspace.data.train_part(dataset)
    boxes = _drawn_boxes(workspace, part, (3, CROP_SIZE, CROP_SIZE))
    return image_samples(_crops(part, boxes), boxes.labels.tolist(), part.space, CROP_SIZE)


def _drawn_boxes(workspace: Workspace, part: DetectionDataset, shape: Sequence[int]) -> LabelTable:
    """The boxes of a part that become samples of this shape, float32; those of crowds never do."""
    counted = part.labels.where(~part.labels.is_crowd)
    most = MOST_BYTES // (4 * math.prod(shape))
    drawn = draw_evenly(torch.from_numpy(counted.labels), most, workspace.config.seed)
    if not drawn.all():
        announce.say(f"{part.name}: relations are found from {int(drawn.sum())} of {counted.num_boxes} boxes, the most that fit")
    return counted.where(drawn.numpy())


def _crops(part: DetectionDataset, boxes: LabelTable) -> Iterator[Tensor]:
    """The crop (3, h, w) of each box, image by image, with progress."""
    with track(len(part), f"crops of {part.name}") as progress:
        for i in range(len(part)):
            corners = boxes.boxes_xyxy[boxes.rows(i)]
            if len(corners):
                image = part.image(i)
                for x1, y1, x2, y2 in corners.tolist():
                    yield image[:, max(0, math.floor(y1)) : math.ceil(y2), max(0, math.floor(x1)) : math.ceil(x2)]
            progress.advance(1)
