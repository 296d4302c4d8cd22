"""Missing Link: a classifier of each dataset is applied to the samples of the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lat.relations.extractors import build_extractor, run_in_eval
from lat.relations.relation_matrix import RelationMatrix
from lat.relations.relation_settings import RelationSearch
from lat.relations.samples import LabeledSamples
from lat.relations.training import train_heads


def find_by_missing_link(
    first: LabeledSamples, second: LabeledSamples, search: RelationSearch, generator: torch.Generator
) -> RelationMatrix:
    """Relations from two classifiers, each applied to the other dataset; decides no edges.

    `first_to_second[i, j]` is the second dataset's classifier's mean probability of j over the samples of first class i. The
    score of a pair is the larger of its two directions; its type comes from their asymmetry.

    Source: Uijlings et al., The Missing Link (ECCV 2022), as adapted in SLAMDUNKS, section 4.4.
    """
    tables = []
    for asked, trained_on in ((first, second), (second, first)):
        extractor = build_extractor(trained_on, search)
        (head,) = train_heads(extractor, [trained_on], search, search.training.steps, generator)
        answers = run_in_eval(nn.Sequential(extractor, head), asked.inputs).softmax(dim=1)
        tables.append(asked.class_means(open_set_probabilities(answers)).clamp(0.0, 1.0))
    return RelationMatrix(first.space, second.space, *tables)


def open_set_probabilities(probabilities: Tensor) -> Tensor:
    """Class probabilities (N, K) as (N, K + 1): with m the largest one, p m for a class and 1 - m for the rest of the world.

    Source: the max-softmax outlier score, as in SLAMDUNKS, section 4.4.
    """
    largest = probabilities.amax(dim=1, keepdim=True)
    return torch.cat([probabilities * largest, 1.0 - largest], dim=1)
