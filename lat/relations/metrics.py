"""Measure found relations against known ones."""

from __future__ import annotations

import torch
from torch import Tensor

from lat.relations.relation_matrix import RelationMatrix


def average_precision(scores: Tensor, truth: Tensor) -> float:
    """Average precision of relations as a ranking of all (K1 + 1)(K2 + 1) - 1 candidates.

    Args:
        scores: (K1 + 1, K2 + 1) float, `RelationMatrix.scores`; the corner, which is no candidate, is ignored.
        truth: (K1 + 1, K2 + 1) bool, the true edges; at least one.

    Returns:
        sum over distinct scores s of (recall at s - recall above s) x precision at s, in (0, 1]. Candidates with one
        score are taken together, so that their order does not matter.

    Source: SLAMDUNKS, section 4.3.
    """
    return _average_precision(scores.flatten()[:-1], truth.flatten()[:-1])


def directed_average_precision(relations: RelationMatrix, forward: Tensor, backward: Tensor) -> float:
    """Average precision of "is a kind of" as a ranking of all 2 K1 K2 directed pairs of classes by their shares.

    Args:
        relations: the found relations.
        forward: (K1, K2) bool, first classes that are kinds of second ones; of both directions at least one is True.
        backward: (K2, K1) bool, second classes that are kinds of first ones.

    Returns:
        As `average_precision`. A relation in the wrong direction counts as a wrong one.
    """
    shares = [relations.first_to_second[:, :-1].flatten(), relations.second_to_first[:, :-1].flatten()]
    return _average_precision(torch.cat(shares), torch.cat([forward.flatten(), backward.flatten()]))


def _average_precision(scores: Tensor, truth: Tensor) -> float:
    flat_scores, flat_truth = scores.double(), truth.double()
    assert flat_truth.any()
    order = flat_scores.argsort(descending=True)
    ranked, hits = flat_scores[order], flat_truth[order].cumsum(dim=0)
    ends = torch.cat([ranked[1:] != ranked[:-1], torch.ones(1, dtype=torch.bool)]).nonzero()[:, 0]
    found = hits[ends]
    precision = found / (ends + 1)
    gained = torch.diff(found, prepend=torch.zeros(1, dtype=found.dtype))
    return float((gained * precision).sum() / hits[-1])


def graph_edit_distance(edges: Tensor, truth: Tensor) -> int:
    """Number of edges, (K1 + 1, K2 + 1) bool each, to add or delete to turn the found graph into the true one.

    Source: SLAMDUNKS, section 4.3.
    """
    return int((edges != truth).sum())


def shared_accuracy(predicted: Tensor, truth: Tensor) -> float:
    """Share of samples in the right universal class, each given as (N, 2) int64 class indices in the two spaces.

    -1 means that the other space has no class for the sample.

    Source: SLAMDUNKS, section 4.3 (accuracy in the shared label space).
    """
    return float((predicted == truth).all(dim=1).double().mean())
