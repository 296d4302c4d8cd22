"""Automatic universal taxonomies: one classifier over the classes of both datasets, and its predictions across them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lat.core.label_space import LabelSpace
from lat.relations.extractors import build_extractor, run_in_eval
from lat.relations.relation_matrix import RelationMatrix
from lat.relations.relation_settings import RelationSearch
from lat.relations.samples import LabeledSamples
from lat.relations.taxonomies import with_standalone
from lat.relations.training import train_heads

OUTLIER_SOFTMAX = 0.5  # a sample with a lower largest probability belongs to the rest of the world
STRONG_SHARE = 0.5  # smallest share of a class's samples that makes a strong connection


def find_by_aut(
    first: LabeledSamples, second: LabeledSamples, search: RelationSearch, generator: torch.Generator
) -> RelationMatrix:
    """Relations from how often labels occur together with predictions in the other label space; edges are decided.

    Source: Bevandić & Šegvić, Automatic universal taxonomies (BMVC 2022), as adapted in SLAMDUNKS, section 4.4.
    """
    k1, k2 = len(first.space), len(second.space)
    space = LabelSpace.from_names(
        "joint", [f"{one.name}.{name}" for one in (first.space, second.space) for name in one.class_names]
    )
    joint = LabeledSamples(torch.cat([first.inputs, second.inputs]), torch.cat([first.labels, second.labels + k1]), space)
    extractor = build_extractor(joint, search)
    (head,) = train_heads(extractor, [joint], search, search.training.steps, generator)
    model = nn.Sequential(extractor, head)
    forward = co_occurrence(first, run_in_eval(model, first.inputs)[:, k1:])
    backward = co_occurrence(second, run_in_eval(model, second.inputs)[:, :k1])
    related = prune_contradictions(strongest(forward), strongest(backward))
    assert related.shape == (k1, k2)
    return RelationMatrix(first.space, second.space, forward, backward, edges=with_standalone(related))


def co_occurrence(samples: LabeledSamples, other_logits: Tensor) -> Tensor:
    """(K, K' + 1) float32: the share of each class's samples predicted as each class of the other space, RoW last.

    Args:
        samples: N samples.
        other_logits: (N, K') logits of the other space's classes.
    """
    largest, predicted = other_logits.softmax(dim=1).max(dim=1)
    predicted = torch.where(largest < OUTLIER_SOFTMAX, other_logits.shape[1], predicted)
    return samples.class_means(nn.functional.one_hot(predicted, other_logits.shape[1] + 1).float()).clamp(0.0, 1.0)


def strongest(shares: Tensor) -> Tensor:
    """(K, K') float32 from shares (K, K' + 1): each class's largest share if it is strong, 0 elsewhere."""
    known = shares[:, :-1]
    is_kept = (known == known.amax(dim=1, keepdim=True)) & (known >= STRONG_SHARE) & (known > shares[:, -1:])
    return known * is_kept


def prune_contradictions(forward: Tensor, backward: Tensor) -> Tensor:
    """(K1, K2) bool: "is a" connections of both directions, without the weaker one of each contradicting pair.

    A connection i -> j means that class i is a kind of class j. If i -> j and j -> i' for another class i' of i's space, i would
    be a kind of i', although the classes of one space are disjoint: the weaker connection is removed.

    Args:
        forward: (K1, K2) strength of each connection of a first class to a second, 0 for none.
        backward: (K2, K1) strength of each connection of a second class to a first, 0 for none.
    """
    forward, backward = forward.clone(), backward.clone()
    connections = [(float(forward[i, j]), 0, i, j) for i, j in forward.nonzero().tolist()]
    connections += [(float(backward[j, i]), 1, j, i) for j, i in backward.nonzero().tolist()]
    for strength, side, a, b in sorted(connections):
        there, back = (forward, backward) if side == 0 else (backward, forward)
        # a -> b contradicts b -> a' (a' not a) and b' -> a (b' not b)
        onward, inward = back[b].clone(), back[:, a].clone()
        onward[a] = inward[b] = 0.0
        if max(float(onward.max()), float(inward.max())) >= strength:
            there[a, b] = 0.0
    return (forward > 0) | (backward.T > 0)
