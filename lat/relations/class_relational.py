"""UniSeg's class relations: the scores of a cosine classifier over both datasets' classes for the regions of each class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lat.core.losses import null_bce
from lat.relations.extractors import build_extractor
from lat.relations.relation_matrix import RelationMatrix
from lat.relations.relation_settings import RelationSearch
from lat.relations.samples import LabeledSamples, draw_batches
from lat.relations.taxonomies import with_standalone
from lat.relations.training import minimise

SCALE = 10.0  # of cosines, so that sigmoids can come near 0 and 1


class CosineClassifier(nn.Module):
    """Features (B, dim) -> logits (B, classes): scaled cosines between features and class weights, and one bias for all.

    The dataset that a feature came from must not give away its class: each dataset's features are normalised separately before.
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, dim))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        return SCALE * F.normalize(features, dim=1) @ F.normalize(self.weight, dim=1).T + self.bias


def find_by_class_relations(
    first: LabeledSamples, second: LabeledSamples, search: RelationSearch, generator: torch.Generator
) -> RelationMatrix:
    """Relations from the mean scores of each class's regions for the classes of the other dataset.

    A classifier over the classes of both datasets learns from each region the classes of its own dataset alone (Null BCE),
    so its scores for the others are untrained. Two classes are related if either score reaches the threshold; a class
    with a high score for another that has a low score for it is the narrower one.

    Source: Kim et al., UniSeg (2022). The paper does not say how it computes relations; cosine classifier, mean scores and
    threshold are our reconstruction, and normalising features per dataset is our addition.
    """
    k1, parts = len(first.space), (first, second)
    # No normalisation inside: it would mix both datasets.
    extractor = build_extractor(first, search, is_normalized=False)
    head = CosineClassifier(search.training.dim, k1 + len(second.space))
    size = search.training.batch_size // 2
    batches = [draw_batches(part, size, search.training.weighted_sampling, generator) for part in parts]
    is_first = torch.arange(k1 + len(second.space)) < k1
    allowed = torch.cat([is_first.expand(size, -1), ~is_first.expand(size, -1)])

    def loss() -> Tensor:
        i, j = (next(batch) for batch in batches)
        features = extractor(torch.cat([first.inputs[i], second.inputs[j]]))
        logits = head(torch.cat([normalized(one, torch.ones(size)) for one in features.split(size)]))
        return null_bce(logits, torch.cat([first.labels[i], second.labels[j] + k1]), allowed, torch.ones(2 * size))

    minimise(loss, [*extractor.parameters(), *head.parameters()], search.training.steps, search.training.learning_rate)
    with torch.no_grad():
        scores = [head(_features(extractor, part, search.training.weighted_sampling)).sigmoid() for part in parts]
    return relations_of_scores(first, second, scores[0][:, k1:], scores[1][:, :k1], search.settings.threshold)


def relations_of_scores(
    first: LabeledSamples, second: LabeledSamples, of_first: Tensor, of_second: Tensor, threshold: float
) -> RelationMatrix:
    """Relations from the scores of all samples for the classes of the other space.

    Args:
        first: N1 samples of K1 classes.
        second: N2 samples of K2 classes.
        of_first: (N1, K2) scores in [0, 1] of the first samples for the second classes; rows need not sum to 1.
        of_second: (N2, K1), conversely.
        threshold: smallest mean score of a class's samples that makes it related.

    Returns:
        `first_to_second[c, k]` is the mean score for k over the samples of class c; for the rest of the world it is the mean of
        1 - the largest score. Not symmetric.
    """
    forward, backward = (part.class_means(_with_rest(scores)) for part, scores in ((first, of_first), (second, of_second)))
    related = torch.maximum(forward[:, :-1], backward[:, :-1].T) >= threshold
    shares = forward.clamp(0.0, 1.0), backward.clamp(0.0, 1.0)
    return RelationMatrix(first.space, second.space, *shares, edges=with_standalone(related))


def normalized(features: Tensor, weights: Tensor) -> Tensor:
    """Features (B, D) with weighted mean 0 and deviation 1 in every channel, for weights (B,) >= 0."""
    shares = (weights / weights.sum())[:, None]
    centred = features - (shares * features).sum(dim=0)
    return centred / ((shares * centred.square()).sum(dim=0) + 1e-5).sqrt()


def _features(extractor: nn.Module, part: LabeledSamples, is_weighted: bool) -> Tensor:
    """Normalised features of all samples, with every class weighted as it was drawn in training."""
    features = torch.cat([extractor(chunk) for chunk in part.inputs.split(1024)])
    weights = (1 / part.class_counts)[part.labels] if is_weighted else torch.ones(len(part))
    return normalized(features, weights)


def _with_rest(scores: Tensor) -> Tensor:
    return torch.cat([scores, 1 - scores.amax(dim=1, keepdim=True)], dim=1)
