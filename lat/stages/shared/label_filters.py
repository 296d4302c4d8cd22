"""Filter the labels of a whole dataset in one label space, and record the decisions as `info`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lat.baselines.class_thresholds import class_thresholds
from lat.core.structures import LabeledBoxes
from lat.data.tensors import boxes_per_image
from lat.evaluation.label_quality import true_classes
from lat.labelling import filters
from lat.labelling.filters import Chunk, ClassFilter
from lat.labelling.labelling_settings import FilterSettings
from lat.labelling.temperature import Temperature, fit_temperature
from lat.labels.coco.write import stream_coco
from lat.labels.store.shards import LabelShards
from lat.labels.table import LabelTable
from lat.workspace.workspace import Workspace

IMAGES_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Filtering:
    """How the labels of one source in one space are filtered.

    Attributes:
        settings: the filter.
        held_out: labels of the same kind for each held-out image of the space's dataset; only for filters that need them.
        scored_by_class: False if `scores` are not taken from `class_scores`.
    """

    settings: FilterSettings
    held_out: Sequence[LabeledBoxes] = ()
    scored_by_class: bool = True


def write_chosen(workspace: Workspace, path: Path, shards: LabelShards, filtering: Filtering, info: Mapping[str, Any]) -> None:
    """Write a labels file with what a filter chooses of the labels in all shards.

    Args:
        workspace: the run.
        path: the file.
        shards: the labels of all images of one source in one space.
        filtering: the filter; if it chooses among them, `info` gets an entry `filter` with each class's threshold.
        info: the file's `info`.
    """
    if filtering.settings.keeps_all:
        shards.export(path, dict(info))
        return
    kept, decisions = choose_labels(workspace, shards.read(), filtering)
    stream_coco(path, shards.images, shards.space, _where(shards, kept), info={**info, "filter": decisions})


def _where(shards: LabelShards, kept: np.ndarray) -> Iterator[LabelTable]:
    """The parts with only the annotations where `kept` (A,) bool is True, numbered from 1."""
    row, number = 0, 1
    for part in shards.tables():
        chosen = part.where(kept[row : row + part.num_boxes])
        yield replace(chosen, annotation_ids=np.arange(number, number + chosen.num_boxes))
        row, number = row + part.num_boxes, number + chosen.num_boxes


def choose_labels(workspace: Workspace, labels: LabelTable, filtering: Filtering) -> tuple[np.ndarray, dict[str, Any]]:
    """Apply a filter to the labels of all images of one source in one space, whose ground truth says how many are wanted.

    Returns:
        (A,) bool: which are kept; and the decisions, as JSON types.
    """
    settings, held_out = filtering.settings, filtering.held_out
    target, temperature = labels.space.name, Temperature()
    if settings.temperature:
        temperature = _fit_temperature(workspace, target, held_out, filtering.scored_by_class)
    chunks = list(_chunks(labels, temperature))
    chosen = _choose(workspace, target, chunks, len(labels), settings, _scaled(held_out, temperature))
    kept = np.concatenate([np.zeros(0, bool), *chosen.masks(chunks)])
    found = filters.count_classes(chunks, len(workspace.data.space(target)))
    return kept, _described(settings, temperature, chosen, found)


def _choose(
    workspace: Workspace,
    target: str,
    chunks: Sequence[Chunk],
    num_images: int,
    settings: FilterSettings,
    held_out: Sequence[LabeledBoxes],
) -> ClassFilter:
    num_classes = len(workspace.data.space(target))
    match settings.method:
        case "class_balanced":
            return filters.class_balanced(chunks, num_classes, settings.share)
        case "validation":
            truth = workspace.data.held_out_part(target).labels
            return filters.by_thresholds(class_thresholds(held_out, truth).numpy())
        case "dars" | "da":
            counts, images = labelled_counts(workspace, target), len(workspace.data.train_part(target))
            wanted = filters.wanted_boxes(counts, images, num_images, settings.share)
            return filters.dars(chunks, wanted, workspace.config.seed, sample_ties=settings.method == "dars")
        case method:
            raise AssertionError(f"no filter {method}")


def labelled_counts(workspace: Workspace, target: str) -> np.ndarray:
    """(K,) int64 number of boxes of each class in the ground truth of a target's training images, crowds excluded."""
    human = workspace.data.train_part(target).labels
    return np.bincount(human.labels[~human.is_crowd], minlength=len(human.space))


def surest_labels(workspace: Workspace, target: str, labels: LabelTable, score_threshold: float, ratio: float) -> LabelTable:
    """The same labels, with surplus ones marked don't-care (crowd); see `lat.labelling.filters.dars`.

    Args:
        workspace: the run.
        target: the dataset in whose space the labels are; its ground truth says how many of each class are wanted.
        labels: of one source.
        score_threshold: only labels from this score on are counted and thinned.
        ratio: the labelling ratio.

    Source: DARS, section 3.3 (a labelling ratio that grows from round to round).
    """
    rows = np.flatnonzero((labels.scores >= score_threshold) & ~labels.is_crowd)
    wanted = filters.wanted_boxes(labelled_counts(workspace, target), len(workspace.data.train_part(target)), len(labels), ratio)
    chunk = labels.scores[rows], labels.labels[rows]
    (kept,) = filters.dars([chunk], wanted, workspace.config.seed).masks([chunk])
    is_crowd = labels.is_crowd.copy()
    is_crowd[rows[~kept]] = True
    return replace(labels, is_crowd=is_crowd)


def _described(settings: FilterSettings, temperature: Temperature, chosen: ClassFilter, found: np.ndarray) -> dict[str, Any]:
    """The decisions as JSON types, lists in class order; a threshold is null if no label of the class is kept."""
    return {
        "method": settings.method,
        "temperature": temperature.value if settings.temperature else None,
        "found": found.tolist(),
        "wanted": None if chosen.wanted is None else chosen.wanted.tolist(),
        "thresholds": [round(each, 6) if np.isfinite(each) else None for each in chosen.thresholds.tolist()],
    }


def _chunks(labels: LabelTable, temperature: Temperature) -> Iterator[Chunk]:
    """Scaled scores and labels of all images, in columns of a few thousand images each."""
    for start in range(0, len(labels), IMAGES_AT_ONCE):
        images = labels.select(np.arange(start, min(start + IMAGES_AT_ONCE, len(labels))))
        scores, classes = images.scores, images.labels
        if temperature.value != 1.0:
            dense = _class_scores(boxes_per_image(images)) if temperature.is_softmax else None
            scores = temperature(torch.from_numpy(scores), torch.from_numpy(classes), dense).numpy()
        yield scores, classes


def _scaled(labels: Sequence[LabeledBoxes], temperature: Temperature) -> Sequence[LabeledBoxes]:
    if temperature.value == 1.0:
        return labels
    return [replace(boxes, scores=temperature(boxes.scores, boxes.labels, boxes.class_scores)) for boxes in labels]


def _fit_temperature(workspace: Workspace, target: str, held_out: Sequence[LabeledBoxes], scored_by_class: bool) -> Temperature:
    """Fit a temperature on all held-out labels except those that lie only on crowd boxes."""
    part = workspace.data.held_out_part(target)
    truth = [true_classes(boxes, part.boxes(i)) for i, boxes in enumerate(held_out)]
    counted = [boxes[classes >= 0] for boxes, classes in zip(held_out, truth, strict=True)]
    scores, labels = (torch.cat([getattr(boxes, name) for boxes in counted]) for name in ("scores", "labels"))
    class_scores = _class_scores(counted) if scored_by_class else None
    classes = torch.cat(truth)
    return fit_temperature(scores, labels, class_scores, classes[classes >= 0])


def _class_scores(images: Sequence[LabeledBoxes]) -> Tensor | None:
    """Concatenated class scores (N, K) of the boxes of some images; None if the files have none."""
    columns = [boxes.class_scores for boxes in images if boxes.class_scores is not None]
    return torch.cat(columns) if len(columns) == len(images) else None
