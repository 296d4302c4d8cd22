"""Relations between the street scenes' label spaces: drawn runs, the true relations, and rows for each method.

Two classes are related if they share boxes: at least `SAME_BOX_SHARE` of the boxes of one class overlap a box of the other class,
in the truth file of the same images, with an IoU of `SAME_BOX_IOU`. A class whose boxes the other protocol does not draw stands
alone.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import torch
from markdown import Row
from relations_digits import spread
from torch import Tensor
from torchvision.ops import box_iou

from lat.commands.draw_street_scenes import draw_benchmark
from lat.commands.relate import region_samples
from lat.config.load import load_config
from lat.data.tensors import boxes_of
from lat.pipeline.run import run_stages
from lat.relations.find import find_relations
from lat.relations.metrics import average_precision, directed_average_precision, graph_edit_distance
from lat.relations.relation_matrix import INSIDE_SHARE, RelationMatrix
from lat.relations.relation_settings import RELATION_METHODS, RelationSettings
from lat.relations.samples import LabeledSamples
from lat.relations.taxonomies import with_standalone
from lat.workspace.label_files import read_truth
from lat.workspace.workspace import Workspace

SAME_BOX_IOU = 0.5
SAME_BOX_SHARE = 0.2
UPSTREAM_STEPS = 120

Truths = dict[tuple[str, str], RelationMatrix]


def drawn_run(folder: Path, seed: int, datasets: tuple[str, ...]) -> tuple[dict[str, LabeledSamples], Truths]:
    """Draw `easy` scenes, train an upstream detector per dataset, and return box features and true relations of each pair.

    Up-to-date steps are not repeated.
    """
    config = draw_benchmark(folder / f"easy_{'_'.join(datasets)}_{seed}", seed=seed, datasets=datasets)
    workspace = Workspace(load_config(config, [f"upstream.training.steps={UPSTREAM_STEPS}"]))
    run_stages(workspace, ["train-upstream"])
    samples = {name: region_samples(workspace, name) for name in workspace.names}
    return samples, {(a, b): true_relations(workspace, a, b) for a, b in combinations(workspace.names, 2)}


def true_relations(workspace: Workspace, first: str, second: str) -> RelationMatrix:
    """Shares of same boxes in both directions, and an edge if the larger one reaches `SAME_BOX_SHARE`."""
    forward, backward = _same_boxes(workspace, first, second), _same_boxes(workspace, second, first)
    edges = with_standalone(torch.maximum(forward[:, :-1], backward[:, :-1].T) >= SAME_BOX_SHARE)
    return RelationMatrix(workspace.data.space(first), workspace.data.space(second), forward, backward, edges=edges)


def _same_boxes(workspace: Workspace, dataset: str, space: str) -> Tensor:
    """(K, K' + 1) share of the boxes of each class that are also boxes of each class of another space, or of none."""
    part, truth = workspace.data.train_part(dataset), read_truth(workspace, dataset, space)
    assert truth is not None
    counts = torch.zeros(len(part.space), len(truth.space) + 1)
    for i in range(len(part)):
        own, other = part.boxes(i), boxes_of(truth, i)
        partner = torch.full((len(own),), len(truth.space))
        if len(own) and len(other):
            iou, best = box_iou(own.boxes_xyxy, other.boxes_xyxy).max(dim=1)
            partner = torch.where(iou >= SAME_BOX_IOU, other.labels[best], partner)
        counts.index_put_((own.labels, partner), torch.ones(len(own)), accumulate=True)
    return (counts / counts.sum(dim=1, keepdim=True).clamp(min=1)).clamp(0, 1)


def street_rows(folder: Path, seeds: int, datasets: tuple[str, ...], methods: tuple[str, ...] = RELATION_METHODS) -> list[Row]:
    """A row per pair of label spaces and method, then one for the mean over the pairs.

    Each seed has its own drawing, training and search. `kinds right` is the share of true relations found with their type;
    "is a kind of" ranks directed pairs of classes, true if `INSIDE_SHARE` of the one class are boxes of the other.
    """
    runs = [drawn_run(folder, seed, datasets) for seed in range(seeds)]
    rows: list[Row] = []
    for method in methods:
        settings = RelationSettings(method=method)
        all_pairs: list[tuple[RelationMatrix, RelationMatrix]] = []
        for a, b in combinations(datasets, 2):
            found = [find_relations(samples[a], samples[b], settings, seed) for seed, (samples, _) in enumerate(runs)]
            scored = list(zip(found, [truths[a, b] for _, truths in runs], strict=True))
            rows.append(_row(f"{a}, {b}", method, scored))
            all_pairs += scored
        rows.append(_row("all pairs", method, all_pairs))
    return rows


def _row(pair: str, method: str, scored: list[tuple[RelationMatrix, RelationMatrix]]) -> Row:
    geds = [float(graph_edit_distance(one.edges, _edges(truth))) for one, truth in scored if one.edges is not None]
    return {
        "pair": pair,
        "method": method,
        "AP": spread([average_precision(one.scores, _edges(truth)) for one, truth in scored], 3),
        "GED": spread(geds, 1) if geds else "-",
        "kinds right": spread([_kinds_right(one, truth) for one, truth in scored]),
        "AP (is a kind of)": spread([directed_average_precision(one, *_inside(truth)) for one, truth in scored], 3),
    }


def _edges(truth: RelationMatrix) -> Tensor:
    assert truth.edges is not None
    return truth.edges


def _inside(truth: RelationMatrix) -> tuple[Tensor, Tensor]:
    return truth.first_to_second[:, :-1] >= INSIDE_SHARE, truth.second_to_first[:, :-1] >= INSIDE_SHARE


def _kinds_right(found: RelationMatrix, truth: RelationMatrix) -> float:
    pairs = truth.related.nonzero().tolist()
    return sum(found.relation_type(i, j) is truth.relation_type(i, j) for i, j in pairs) / len(pairs)
