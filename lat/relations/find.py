"""Find the relations between the classes of two datasets from labelled samples."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lat.relations.aut import find_by_aut
from lat.relations.class_relational import find_by_class_relations
from lat.relations.extractors import build_extractor, run_in_eval
from lat.relations.missing_link import find_by_missing_link
from lat.relations.relation_matrix import RELATED_SCORE, RelationMatrix
from lat.relations.relation_settings import RelationSearch, RelationSettings, RelationTraining
from lat.relations.samples import LabeledSamples, check_comparable, draw_batches
from lat.relations.slamdunks import GridSize, Slamdunks, slamdunks_loss
from lat.relations.taxonomies import with_standalone
from lat.relations.training import minimise, train_heads

HELD_OUT_SHARE = 0.3  # of each class, to choose lambda
CONTRADICTION_TOLERANCE = 0.1  # the contradictions of a class may rise this much above those of lambda 0
PARTNER_SHARE = 0.5  # share of a class that the other dataset's classifier takes for one class, from which that is its partner
COMMON_SHARE = 0.02  # a universal class is shared if at least this share of either class falls into it
# The gate must follow the classification head, not the other way round.
GATE_SPEED = 10.0


def find_relations(
    first: LabeledSamples,
    second: LabeledSamples,
    settings: RelationSettings,
    seed: int = 0,
    training: RelationTraining | None = None,
) -> RelationMatrix:
    """Find relations by the method in the settings. The same samples, settings and seed give the same relations.

    Each dataset's samples get mean 0 and deviation 1 first, which takes off most of a domain shift.

    Raises:
        InputError: if the samples of the two datasets differ in size.
    """
    check_comparable(first, second)
    first, second = first.standardized(), second.standardized()
    search = RelationSearch(settings, training or RelationTraining())
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match settings.method:
            case "slamdunks":
                return find_by_slamdunks(first, second, search, generator).relations
            case "missing_link":
                return find_by_missing_link(first, second, search, generator)
            case "class_relational":
                return find_by_class_relations(first, second, search, generator)
            case _:
                return find_by_aut(first, second, search, generator)


@dataclass(frozen=True, eq=False)
class SlamdunksResult:
    """Relations, the trained model, and the given or found lambda of each class, (K1 + K2,) float32."""

    relations: RelationMatrix
    model: Slamdunks
    standalone_bias: Tensor


def find_by_slamdunks(
    first: LabeledSamples,
    second: LabeledSamples,
    search: RelationSearch,
    generator: torch.Generator,
    extractor: nn.Module | None = None,
) -> SlamdunksResult:
    """Train SLAMDUNKS and read relations off its classification head.

    With `standalone_bias: -1` lambda is searched for first, see `search_standalone_bias`.

    Args:
        first: samples of the first label space.
        second: samples of the second.
        search: the method's settings.
        generator: where batches and the held-out part come from.
        extractor: inputs -> (B, dim), trained instead of the one that the settings name; `pretrain_steps` apply to it too.

    Source: SLAMDUNKS, section 3.3.
    """
    extractor = extractor or build_extractor(first, search)
    if search.training.standalone_bias < 0:
        bias, model = search_standalone_bias(extractor, first, second, search, generator)
    else:
        bias = torch.full((len(first.space) + len(second.space),), search.training.standalone_bias)
        pretrain(extractor, first, second, search, generator)
        model = train_slamdunks(extractor, first, second, search, bias, generator)
    return SlamdunksResult(relations_of(model, first, second), model, bias)


def search_standalone_bias(
    extractor: nn.Module,
    first: LabeledSamples,
    second: LabeledSamples,
    search: RelationSearch,
    generator: torch.Generator,
) -> tuple[Tensor, Slamdunks]:
    """The lambda of each class, (K1 + K2,), with which held-out samples still fall into their own classes, and its model.

    Needs no known relations. Too small a lambda joins classes that have nothing in common; too large a one separates classes
    that look alike, so that held-out samples are taken for the other dataset's (`contradictions`). Bisection finds the largest
    common lambda, of `search_points` values, that contradicts no class. It may still join two classes that have no partner:
    classes that neither classifier of `pretrain` assigns to one class of the other dataset get lambda 1 instead, as long as that
    contradicts none of them.

    Source: SLAMDUNKS, section 4.5, searches one lambda in [0, 1] linearly, without giving the criterion.
    """
    (train_first, held_first), (train_second, held_second) = (p.hold_out(HELD_OUT_SHARE, generator) for p in (first, second))
    heads = pretrain(extractor, train_first, train_second, search, generator)
    is_kept = have_partners(extractor, heads, train_first, train_second)
    state = generator.get_state()
    levels = torch.linspace(0, 1, search.training.search_points)

    def fit(bias: Tensor) -> tuple[Slamdunks, Tensor]:
        generator.set_state(state)
        model = train_slamdunks(deepcopy(extractor), train_first, train_second, search, bias, generator)
        return model, contradictions(model, held_first, held_second)

    best, lowest = fit(levels[0].expand(len(is_kept)))
    low, high = 0, len(levels)
    while high - low > 1:
        middle = (low + high) // 2
        model, found = fit(levels[middle].expand(len(is_kept)))
        if (found - lowest <= CONTRADICTION_TOLERANCE).all():
            low, best = middle, model
        else:
            high = middle
    while low < len(levels) - 1 and not is_kept.all():
        bias = torch.where(is_kept, levels[low], 1.0)
        model, found = fit(bias)
        is_contradicted = (found - lowest > CONTRADICTION_TOLERANCE) & ~is_kept
        if not is_contradicted.any():
            return bias, model
        is_kept = is_kept | is_contradicted
    return levels[low].repeat(len(is_kept)), best


def pretrain(
    extractor: nn.Module, first: LabeledSamples, second: LabeledSamples, search: RelationSearch, generator: torch.Generator
) -> list[nn.Linear]:
    """Train the extractor on the classes of each dataset for `pretrain_steps`; returns the heads, or none without steps."""
    if not search.pretrain_steps:
        return []
    return train_heads(extractor, [first, second], search, search.pretrain_steps, generator)


def have_partners(extractor: nn.Module, heads: list[nn.Linear], first: LabeledSamples, second: LabeledSamples) -> Tensor:
    """(K1 + K2,) bool: classes that a classifier of the other dataset mostly takes for one class; or conversely.

    The heads are those of `pretrain`; without heads, every class counts as having a partner.
    """
    if not heads:
        return torch.ones(len(first.space) + len(second.space), dtype=torch.bool)
    of_first, of_second = (nn.Sequential(extractor, head) for head in heads)
    forward = first.class_means(run_in_eval(of_second, first.inputs).softmax(dim=1))
    backward = second.class_means(run_in_eval(of_first, second.inputs).softmax(dim=1))
    likeness = torch.maximum(forward, backward.T)
    return torch.cat([likeness.amax(dim=1), likeness.amax(dim=0)]) >= PARTNER_SHARE


def train_slamdunks(
    extractor: nn.Module,
    first: LabeledSamples,
    second: LabeledSamples,
    search: RelationSearch,
    standalone_bias: Tensor,
    generator: torch.Generator,
) -> Slamdunks:
    """A SLAMDUNKS model on top of an extractor, trained with batches half from each dataset.

    `standalone_bias` (K1 + K2,) is the lambda of each class.
    """
    size = GridSize(len(first.space), len(second.space))
    model = Slamdunks(extractor, search.training.dim, size, search.training.zero_init)
    half, is_weighted = search.training.batch_size // 2, search.training.weighted_sampling
    batches = [draw_batches(part, half, is_weighted, generator) for part in (first, second)]

    def loss() -> Tensor:
        i, j = (next(batch) for batch in batches)
        universal, gate = model(torch.cat([first.inputs[i], second.inputs[j]]))
        labels = torch.cat([first.labels[i], second.labels[j] + size.k1])
        return slamdunks_loss(universal, gate, labels, size, standalone_bias)

    slow = [*model.extractor.parameters(), *model.classification.parameters()]
    groups = [{"params": slow}, {"params": list(model.gating.parameters()), "lr": GATE_SPEED * search.training.learning_rate}]
    minimise(loss, groups, search.training.steps, search.training.learning_rate)
    return model


def relations_of(model: Slamdunks, first: LabeledSamples, second: LabeledSamples) -> RelationMatrix:
    """Relations as shares: the mean probability of a class's samples in each of its universal classes.

    A universal class that only samples of one dataset fall into (`COMMON_SHARE`) is not shared, whatever its name: its share
    counts as standalone. Pairs with a score of at least `RELATED_SCORE` get an edge; a class without any edge stands alone.
    """
    k1, k2 = model.size.k1, model.size.k2
    forward, backward = (table.clamp(0, 1) for table in own_shares(model, first, second))
    is_common = torch.minimum(forward[:, :k2], backward[:, :k1].T) >= COMMON_SHARE
    forward, backward = _common_shares(forward, is_common), _common_shares(backward, is_common.T)
    edges = with_standalone(RelationMatrix(first.space, second.space, forward, backward).scores[:k1, :k2] >= RELATED_SCORE)
    return RelationMatrix(first.space, second.space, forward, backward, edges=edges)


def _common_shares(shares: Tensor, is_common: Tensor) -> Tensor:
    """Shares (K, K' + 1), with those of pairs that are not common (K, K') moved to the rest of the world."""
    moved = (shares[:, :-1] * ~is_common).sum(dim=1, keepdim=True)
    return torch.cat([shares[:, :-1] * is_common, (shares[:, -1:] + moved).clamp(max=1)], dim=1)


def own_shares(model: Slamdunks, first: LabeledSamples, second: LabeledSamples) -> tuple[Tensor, Tensor]:
    """(K1, K2 + 1) and (K2, K1 + 1): mean probability of each of a class's universal classes over the samples of that class."""
    of_first, of_second = _class_grids(model, first, second)
    k1, k2 = torch.arange(model.size.k1), torch.arange(model.size.k2)
    return of_first[k1, k1], of_second[k2, :, k2]


def contradictions(model: Slamdunks, first: LabeledSamples, second: LabeledSamples) -> Tensor:
    """(K1 + K2,): the evidence against each class standing alone to the degree that the model says.

    The mean probability of the class's samples in universal classes of others, plus that of the other dataset's samples, class by
    class, in the universal class that is this class alone.
    """
    of_first, of_second = _class_grids(model, first, second)
    k1, k2 = model.size.k1, model.size.k2
    own = torch.cat([shares.sum(dim=1) for shares in own_shares(model, first, second)])
    taken = torch.cat([of_second[:, :k1, k2].sum(dim=0), of_first[:, k1, :k2].sum(dim=0)])
    return 1.0 - own + taken


def _class_grids(model: Slamdunks, first: LabeledSamples, second: LabeledSamples) -> tuple[Tensor, Tensor]:
    """(K1, K1 + 1, K2 + 1) and (K2, K1 + 1, K2 + 1): mean probabilities of universal classes over the samples of each class."""
    shape = (model.size.k1 + 1, model.size.k2 + 1)
    of_first, of_second = (s.class_means(model.universal_probabilities(s).flatten(1)) for s in (first, second))
    return of_first.unflatten(1, shape), of_second.unflatten(1, shape)
