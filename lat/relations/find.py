"""Find the relations between the classes of two datasets from labelled samples."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lat.relations.aut import find_by_aut
from lat.relations.class_relational import find_by_class_relations
from lat.relations.extractors import feature_head
from lat.relations.missing_link import find_by_missing_link
from lat.relations.relation_matrix import RELATED_SCORE, RelationMatrix
from lat.relations.samples import LabeledSamples, check_comparable, draw_batches
from lat.relations.settings import RelationSettings
from lat.relations.slamdunks import GridSize, Slamdunks, slamdunks_loss
from lat.relations.taxonomies import with_standalone
from lat.relations.training import minimise, train_heads

HELD_OUT_SHARE = 0.3  # of each class, to judge lambda by
CONTRADICTION_TOLERANCE = 0.01  # by how much contradictions may rise above those of lambda 0
# The gate must follow the classification head, which it judges, and not the other way round.
GATE_SPEED = 10.0


def find_relations(first: LabeledSamples, second: LabeledSamples, settings: RelationSettings, seed: int = 0) -> RelationMatrix:
    """Relations by the method that the settings name. The same samples, settings and seed give the same relations.

    Raises:
        InputError: if the samples of the two datasets differ in size.
    """
    check_comparable(first, second)
    if settings.standardize:
        first, second = first.standardized(), second.standardized()
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match settings.method:
            case "slamdunks":
                return find_by_slamdunks(first, second, settings, generator).relations
            case "missing_link":
                return find_by_missing_link(first, second, settings, generator)
            case "class_relational":
                return find_by_class_relations(first, second, settings, generator)
            case _:
                return find_by_aut(first, second, settings, generator)


@dataclass(frozen=True, eq=False)
class SlamdunksResult:
    """Relations, the trained model, and the lambda that was given or found."""

    relations: RelationMatrix
    model: Slamdunks
    standalone_bias: float


def find_by_slamdunks(
    first: LabeledSamples,
    second: LabeledSamples,
    settings: RelationSettings,
    generator: torch.Generator,
    extractor: nn.Module | None = None,
) -> SlamdunksResult:
    """Train SLAMDUNKS and read relations off its classification head.

    With `standalone_bias: -1` lambda is searched for first, see `search_standalone_bias`.

    Args:
        first: samples of the first label space.
        second: samples of the second.
        settings: the method's settings.
        generator: where batches and the held-out part come from.
        extractor: inputs -> (B, dim), trained in place of a `feature_head`; `pretrain_steps` apply to it as well.

    Source: SLAMDUNKS, section 3.3.
    """
    extractor = extractor or feature_head(first, settings.dim)
    bias = settings.standalone_bias
    if bias < 0:
        bias, model = search_standalone_bias(extractor, first, second, settings, generator)
    else:
        pretrain(extractor, first, second, settings, generator)
        model = train_slamdunks(extractor, first, second, settings, bias, generator)
    return SlamdunksResult(relations_of(model, first, second), model, bias)


def search_standalone_bias(
    extractor: nn.Module,
    first: LabeledSamples,
    second: LabeledSamples,
    settings: RelationSettings,
    generator: torch.Generator,
) -> tuple[float, Slamdunks]:
    """The largest lambda with which held-out samples still land in universal classes of their own class, and its model.

    Needs no known relations. Too small a lambda joins classes that have nothing in common. Too large a one parts classes that
    look alike, and then about half of their held-out samples are taken for the other dataset's: such contradictions grow with
    lambda, so the largest of `search_points` values that makes hardly more of them than lambda 0 is found by bisection.

    Source: SLAMDUNKS, section 4.5, searches [0, 1] linearly; it does not say what a lambda is judged by.
    """
    (train_first, held_first), (train_second, held_second) = (p.hold_out(HELD_OUT_SHARE, generator) for p in (first, second))
    pretrain(extractor, train_first, train_second, settings, generator)
    state = generator.get_state()

    models: dict[int, Slamdunks] = {}

    def share_at(point: int) -> float:
        generator.set_state(state)
        bias = point / (settings.search_points - 1)
        model = train_slamdunks(deepcopy(extractor), train_first, train_second, settings, bias, generator)
        models[point] = model
        return contradictions(model, held_first, held_second)

    most = share_at(0) + CONTRADICTION_TOLERANCE
    low, high = 0, settings.search_points
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if share_at(middle) <= most else (low, middle)
    return low / (settings.search_points - 1), models[low]


def pretrain(
    extractor: nn.Module, first: LabeledSamples, second: LabeledSamples, settings: RelationSettings, generator: torch.Generator
) -> None:
    """Teach the extractor the classes of each dataset, `pretrain_steps` long, with heads that are then thrown away."""
    if settings.pretrain_steps:
        train_heads(extractor, [first, second], settings, settings.pretrain_steps, generator)


def train_slamdunks(
    extractor: nn.Module,
    first: LabeledSamples,
    second: LabeledSamples,
    settings: RelationSettings,
    standalone_bias: float,
    generator: torch.Generator,
) -> Slamdunks:
    """A SLAMDUNKS model on top of an extractor, trained with batches of which each dataset has half."""
    size = GridSize(len(first.space), len(second.space))
    model = Slamdunks(extractor, settings.dim, size, settings.zero_init)
    batches = [draw_batches(p, settings.batch_size // 2, settings.weighted_sampling, generator) for p in (first, second)]

    def loss() -> Tensor:
        i, j = (next(batch) for batch in batches)
        universal, gate = model(torch.cat([first.inputs[i], second.inputs[j]]))
        labels = torch.cat([first.labels[i], second.labels[j] + size.k1])
        return slamdunks_loss(universal, gate, labels, size, standalone_bias)

    slow = [*model.extractor.parameters(), *model.classification.parameters()]
    groups = [{"params": slow}, {"params": list(model.gating.parameters()), "lr": GATE_SPEED * settings.learning_rate}]
    minimise(loss, groups, settings.steps, settings.learning_rate)
    return model


def relations_of(model: Slamdunks, first: LabeledSamples, second: LabeledSamples) -> RelationMatrix:
    """Relations as shares: the mean probability that samples of a class have in each universal class of its own.

    Pairs with a score of `RELATED_SCORE` get an edge; a class without any edge stands alone.
    """
    k1, k2 = model.size.k1, model.size.k2
    of_first, of_second = (s.class_means(model.universal_probabilities(s).flatten(1)) for s in (first, second))
    forward = of_first.unflatten(1, (k1 + 1, k2 + 1))[torch.arange(k1), torch.arange(k1)]
    backward = of_second.unflatten(1, (k1 + 1, k2 + 1))[torch.arange(k2), :, torch.arange(k2)]
    shares = RelationMatrix(first.space, second.space, forward.clamp(0, 1), backward.clamp(0, 1))
    edges = with_standalone(shares.scores[:k1, :k2] >= RELATED_SCORE)
    return RelationMatrix(first.space, second.space, shares.first_to_second, shares.second_to_first, edges=edges)


def contradictions(model: Slamdunks, first: LabeledSamples, second: LabeledSamples) -> float:
    """Mean probability, over the classes of both spaces, of universal classes that are no part of the sample's own class."""
    relations = relations_of(model, first, second)
    own = torch.cat([relations.first_to_second.sum(dim=1), relations.second_to_first.sum(dim=1)])
    return float(1.0 - own.mean())
