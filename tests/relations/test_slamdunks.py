"""SLAMDUNKS: equations against a loop in float64, initial probabilities, and relations found on drawn clusters."""

from __future__ import annotations

import math

import pytest
import torch
from factories import label_space

from lat.core.errors import InputError
from lat.relations.find import contradictions, find_by_slamdunks, find_relations, have_partners, relations_of
from lat.relations.metrics import average_precision, graph_edit_distance
from lat.relations.relation_matrix import RelationMatrix
from lat.relations.relation_settings import RelationSearch, RelationSettings, RelationTraining
from lat.relations.samples import LabeledSamples, draw_batches
from lat.relations.slamdunks import GridSize, Slamdunks, log_posterior, slamdunks_loss
from lat.relations.taxonomies import CUSTOM_FIRST, CUSTOM_SECOND, Taxonomy, true_relations

SIZE = GridSize(2, 3)


def posterior_by_hand(logits: list[float], gate: list[float], y: int) -> float:
    """Equations 1 to 6 one sample and one class at a time, in Python's own floats."""
    k1, k2 = SIZE.k1, SIZE.k2
    total = sum(math.exp(value) for value in logits)
    cells = [(i, j) for i in range(k1 + 1) for j in range(k2 + 1) if (i, j) != (k1, k2)]
    probability = {cell: math.exp(value) / total for cell, value in zip(cells, logits, strict=True)}
    if y < k1:
        shared, alone = sum(probability[y, j] for j in range(k2)), probability[y, k2]
    else:
        shared, alone = sum(probability[i, y - k1] for i in range(k1)), probability[k1, y - k1]
    c = 1 / (1 + math.exp(-gate[y]))
    return (1 - c) * shared + c * alone


def test_posterior_and_loss_equal_the_equations() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, SIZE.universal, generator=generator, dtype=torch.float64) * 3
    gate = torch.randn(4, 5, generator=generator, dtype=torch.float64) * 3
    found = log_posterior(logits, gate, SIZE)
    by_hand = [[posterior_by_hand(row.tolist(), z.tolist(), y) for y in range(5)] for row, z in zip(logits, gate, strict=True)]
    torch.testing.assert_close(found.exp(), torch.tensor(by_hand, dtype=torch.float64))
    labels = [0, 4, 2, 1]
    bias = [0.3, 0.0, 0.5, 1.0, 0.2]
    terms = [-math.log(by_hand[b][y]) - bias[y] * math.log(1 / (1 + math.exp(-gate[b, y].item()))) for b, y in enumerate(labels)]
    loss = slamdunks_loss(logits, gate, torch.tensor(labels), SIZE, torch.tensor(bias, dtype=torch.float64))
    assert loss.item() == pytest.approx(sum(terms) / 4)


def test_an_open_gate_leaves_shared_and_a_closed_one_standalone_classes() -> None:
    logits = torch.randn(3, SIZE.universal, generator=torch.Generator().manual_seed(1))
    probability = SIZE.grid(logits.softmax(dim=1), 0.0)
    far = torch.full((3, 5), 60.0)
    shared = torch.cat([probability[:, :2, :3].sum(dim=2), probability[:, :2, :3].sum(dim=1)], dim=1)
    torch.testing.assert_close(log_posterior(logits, -far, SIZE).exp(), shared)
    alone = torch.cat([probability[:, :2, 3], probability[:, 2, :3]], dim=1)
    torch.testing.assert_close(log_posterior(logits, far, SIZE).exp(), alone)


def test_extreme_logits_stay_finite() -> None:
    logits = torch.full((1, SIZE.universal), -1e4)
    logits[0, 0] = 1e4
    gate = torch.tensor([[1e4, -1e4, 1e4, -1e4, 0.0]], requires_grad=True)
    loss = slamdunks_loss(logits, gate, torch.tensor([1]), SIZE, torch.ones(5))
    loss.backward()
    assert torch.isfinite(loss)
    assert gate.grad is not None
    assert torch.isfinite(gate.grad).all()


def test_zero_heads_start_with_all_relations_equally_likely() -> None:
    model = Slamdunks(torch.nn.Identity(), 4, SIZE)
    universal, gate = model(torch.randn(2, 4))
    assert not universal.any()
    assert not gate.any()
    assert Slamdunks(torch.nn.Identity(), 4, SIZE, zero_init=False)(torch.randn(2, 4))[0].any()


def test_weighted_batches_draw_every_class_alike() -> None:
    space = label_space("a", ("rare", "common"))
    samples = LabeledSamples(torch.zeros(110, 1), torch.tensor([0] * 10 + [1] * 100), space)
    for is_weighted, expected in ((True, 0.5), (False, 10 / 110)):
        rows = next(draw_batches(samples, 4000, is_weighted, torch.Generator().manual_seed(0)))
        assert (samples.labels[rows] == 0).float().mean().item() == pytest.approx(expected, abs=0.03)


# Ten concepts as clusters under the paper's taxonomies; concept 0 is labelled by the first alone, 9 by the second.
TRUE = true_relations(CUSTOM_FIRST, CUSTOM_SECOND)


def clusters(taxonomy: Taxonomy, seed: int, shift: float = 0.0) -> LabeledSamples:
    generator = torch.Generator().manual_seed(seed)
    concepts = torch.arange(10).repeat(60)
    labels = taxonomy.relabel(concepts)
    centres = 4 * torch.eye(10, 12)
    inputs = centres[concepts] + shift + 0.7 * torch.randn(len(concepts), 12, generator=generator)
    return LabeledSamples(inputs[labels >= 0], labels[labels >= 0], taxonomy.space)


@pytest.fixture(scope="module", params=["slamdunks", "missing_link", "aut"])
def found(request: pytest.FixtureRequest) -> tuple[str, RelationMatrix]:
    settings = RelationSettings(method=request.param)
    samples = clusters(CUSTOM_FIRST, 0), clusters(CUSTOM_SECOND, 10, shift=2.0)
    training = RelationTraining(steps=150, pretrain_share=2 / 3, dim=64, standalone_bias=0.6)
    # The shift is a difference of domains that standardization takes off.
    return request.param, find_relations(*samples, settings, seed=0, training=training)


def test_each_method_ranks_relations_of_clusters(found: tuple[str, RelationMatrix]) -> None:
    method, relations = found
    assert TRUE.edges is not None
    assert average_precision(relations.scores, TRUE.edges) >= {"slamdunks": 0.98, "missing_link": 0.8, "aut": 0.9}[method]
    if method == "slamdunks":
        assert relations.edges is not None
        assert graph_edit_distance(relations.edges, TRUE.edges) == 0
        assert relations.relation_type(1, 0).value == "broader"  # {1, 2} and {1}
        assert relations.relation_type(2, 1).value == "narrower"  # {3} and {2, 3}


def test_lambda_is_found_without_known_relations() -> None:
    search = RelationSearch(RelationSettings(), RelationTraining(steps=120, pretrain_share=2 / 3, dim=64, search_points=6))
    torch.manual_seed(3)
    samples = [clusters(taxonomy, seed).standardized() for taxonomy, seed in ((CUSTOM_FIRST, 0), (CUSTOM_SECOND, 10))]
    result = find_by_slamdunks(samples[0], samples[1], search, torch.Generator().manual_seed(3))
    assert TRUE.edges is not None
    assert average_precision(result.relations.scores, TRUE.edges) >= 0.95
    # Concepts 0 and 9, of the first and of the last class, have no partner; all others keep the common lambda.
    is_alone = torch.tensor([True, *[False] * 12, True])
    assert (result.standalone_bias[is_alone] == 1).all()
    assert len(result.standalone_bias[~is_alone].unique()) == 1


def test_the_same_seed_gives_the_same_relations_and_leaves_the_global_generator_alone() -> None:
    settings, training = RelationSettings(), RelationTraining(steps=5, dim=16, standalone_bias=0.5)
    samples = clusters(CUSTOM_FIRST, 0), clusters(CUSTOM_SECOND, 10)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    relations, again = (find_relations(*samples, settings, 3, training) for _ in range(2))
    assert torch.equal(relations.scores, again.scores)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(relations.scores, find_relations(*samples, settings, 4, training).scores)


def test_one_box_of_a_class_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="city: class 'bus' has one box to learn from; label at least 2"):
        LabeledSamples(torch.zeros(4, 3), torch.tensor([0, 0, 0, 1]), label_space("city", ("car", "bus")))


def test_samples_of_two_sizes_are_one_clear_line() -> None:
    a, b = (LabeledSamples(torch.zeros(2, 3, n, n), torch.tensor([0, 0]), label_space(f"d{n}", ("x",))) for n in (8, 9))
    with pytest.raises(InputError, match="d8, d9: samples of d8 are 3 x 8 x 8, those of d9 3 x 9 x 9; resize both"):
        find_relations(a, b, RelationSettings())


def fixed_model(size: GridSize, cells: list[list[float]]) -> Slamdunks:
    """A model whose input is a one-hot row of `cells`, the probabilities of universal classes."""
    model = Slamdunks(torch.nn.Identity(), len(cells), size)
    model.classification.weight.data = torch.tensor(cells).clamp(min=1e-9).log().T
    return model


# One first class, two second ones: universal classes (0, 0), (0, 1), first 0 alone, second 0 alone, second 1 alone.
ONE_TWO = GridSize(1, 2)


def two_datasets(first: int, second: list[int]) -> tuple[LabeledSamples, LabeledSamples]:
    """Two samples of the one first class and two of each second class; sample inputs are rows of `fixed_model`'s cells."""
    rows = torch.eye(4)
    one = LabeledSamples(rows[[first, first]], torch.tensor([0, 0]), label_space("a", ("x",)))
    return one, LabeledSamples(rows[[second[0]] * 2 + [second[1]] * 2], torch.tensor([0, 0, 1, 1]), label_space("b", ("y", "z")))


def test_a_universal_class_that_one_dataset_alone_falls_into_is_not_shared() -> None:
    # x lies in (x, y) to 0.9; y likewise; z's samples lie in (x, z), where none of x's do.
    cells = [[0.9, 0.01, 0.09, 0, 0], [0.8, 0, 0, 0.2, 0], [0, 0.95, 0, 0, 0.05], [0, 0, 1.0, 0, 0]]
    found = relations_of(fixed_model(ONE_TWO, cells), *two_datasets(0, [1, 2]))
    torch.testing.assert_close(found.first_to_second, torch.tensor([[0.9, 0.0, 0.1]]), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.second_to_first, torch.tensor([[0.8, 0.2], [0.0, 1.0]]), atol=1e-5, rtol=0)
    assert found.edges is not None
    assert found.edges.tolist() == [[True, False, False], [False, True, False]]


def test_contradictions_are_samples_elsewhere_and_samples_taken() -> None:
    # x: 0.4 of it in y alone. y: 0.3 of it in x alone. z: nothing wrong.
    cells = [[0.5, 0, 0.1, 0.4, 0], [0.6, 0, 0.3, 0.1, 0], [0, 0.5, 0, 0, 0.5], [0, 0, 1.0, 0, 0]]
    found = contradictions(fixed_model(ONE_TWO, cells), *two_datasets(0, [1, 2]))
    torch.testing.assert_close(found, torch.tensor([0.4 + 0.3, 0.3 + 0.4, 0.0]), atol=1e-5, rtol=0)


def test_a_class_has_a_partner_where_a_classifier_takes_most_of_it_for_one() -> None:
    # Samples are rows of the identity: the three classes of a, then those of b; two of each.
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    one = LabeledSamples(torch.eye(6)[labels], labels, label_space("a", ("t", "u", "v")))
    other = LabeledSamples(torch.eye(6)[labels + 3], labels, label_space("b", ("x", "y", "z")))
    heads = [torch.nn.Linear(6, 3, bias=False) for _ in range(2)]
    # t is x to 0.7, and y is u to 0.6, of which the other classifiers are less sure; v and z are nothing in particular.
    of_a_for_b = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.3, 0.3], [0.4, 0.2, 0.4]])
    of_b_for_a = torch.tensor([[0.4, 0.3, 0.3], [0.3, 0.6, 0.1], [0.3, 0.3, 0.4]])
    heads[1].weight.data = torch.cat([of_a_for_b, torch.ones(3, 3)]).log().T
    heads[0].weight.data = torch.cat([torch.ones(3, 3), of_b_for_a]).log().T
    assert have_partners(torch.nn.Identity(), heads, one, other).tolist() == [True, True, False, True, True, False]
    assert have_partners(torch.nn.Identity(), [], one, other).all()
