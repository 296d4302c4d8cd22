"""UniSeg's class relations: shares by hand, direction on samples of known concepts, and the same bytes from the same seed."""

from __future__ import annotations

import pytest
import torch
from factories import label_space

from lat.core.errors import InputError
from lat.relations.class_relational import CosineClassifier, normalized, relations_of_scores
from lat.relations.find import find_relations
from lat.relations.metrics import directed_average_precision
from lat.relations.relation_matrix import RelationType
from lat.relations.relation_settings import RelationSettings, RelationTraining
from lat.relations.samples import LabeledSamples
from lat.relations.taxonomies import Taxonomy, true_relations

FINE = Taxonomy.of_sets("fine", [[0], [1], [2]])
BROAD = Taxonomy.of_sets("broad", [[0, 1], [2]])
SETTINGS, FEW = RelationSettings(method="class_relational"), RelationTraining(steps=100, dim=16, batch_size=32)


def samples_of(taxonomy: Taxonomy, seed: int) -> LabeledSamples:
    """Ninety samples of three concepts, each around a corner of its own."""
    generator = torch.Generator().manual_seed(seed)
    concepts = torch.arange(90) % 3
    inputs = 3.0 * torch.eye(3)[concepts] + 0.3 * torch.randn(90, 3, generator=generator)
    return LabeledSamples(inputs, taxonomy.relabel(concepts), taxonomy.space)


def test_mean_scores_and_threshold_by_hand() -> None:
    first = LabeledSamples(torch.zeros(4, 1), torch.tensor([0, 0, 1, 1]), label_space("a", ("car", "bus")))
    second = LabeledSamples(torch.zeros(2, 1), torch.tensor([0, 0]), label_space("b", ("vehicle",)))
    of_first = torch.tensor([[0.9], [0.7], [0.6], [0.4]])
    of_second = torch.tensor([[0.9, 0.1], [0.1, 0.3]])
    found = relations_of_scores(first, second, of_first, of_second, threshold=0.75)
    torch.testing.assert_close(found.first_to_second, torch.tensor([[0.8, 0.2], [0.5, 0.5]]))
    # Largest scores of the two vehicles: 0.9 and 0.3.
    torch.testing.assert_close(found.second_to_first, torch.tensor([[0.5, 0.2, 0.4]]))
    assert found.related.tolist() == [[True], [False]]
    assert found.relation_type(0, 0) is RelationType.NARROWER
    assert found.edges is not None
    assert found.edges.tolist() == [[True, False], [False, True], [False, False]]


def test_narrow_classes_lie_in_broad_ones_and_not_the_reverse() -> None:
    found = find_relations(samples_of(FINE, 0), samples_of(BROAD, 1), SETTINGS, training=FEW)
    assert torch.equal(found.related, torch.tensor([[True, False], [True, False], [False, True]]))
    kinds = [found.relation_type(i, j).value for i, j in ((0, 0), (1, 0), (2, 1))]
    assert kinds == ["narrower", "narrower", "equal"]
    truth = true_relations(FINE, BROAD)
    inside = truth.first_to_second[:, :-1] == 1, truth.second_to_first[:, :-1] == 1
    assert directed_average_precision(found, *inside) == 1.0


def test_the_same_seed_finds_the_same_shares() -> None:
    one, other = (find_relations(samples_of(FINE, 0), samples_of(BROAD, 1), SETTINGS, 3, FEW) for _ in range(2))
    assert torch.equal(one.first_to_second, other.first_to_second)
    assert torch.equal(one.second_to_first, other.second_to_first)


def test_each_dataset_is_normalised_by_itself_with_weights() -> None:
    # Weights 1, 1, 2 of 0, 2, 3: mean 2, variance (4 + 0 + 2) / 4.
    found = normalized(torch.tensor([[0.0], [2.0], [3.0]]), torch.tensor([1.0, 1.0, 2.0]))
    torch.testing.assert_close(found, torch.tensor([[-2.0], [0.0], [1.0]]) / 1.5**0.5, rtol=1e-4, atol=1e-4)


def test_logits_are_scaled_cosines() -> None:
    classifier = CosineClassifier(2, 2)
    classifier.weight.data = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
    torch.testing.assert_close(classifier(torch.tensor([[3.0, 4.0]])), torch.tensor([[6.0, 8.0]]))


def test_a_relation_in_the_wrong_direction_is_a_wrong_one() -> None:
    found = relations_of_scores(
        LabeledSamples(torch.zeros(2, 1), torch.tensor([0, 0]), label_space("a", ("car",))),
        LabeledSamples(torch.zeros(2, 1), torch.tensor([0, 0]), label_space("b", ("vehicle",))),
        torch.tensor([[0.3], [0.3]]),
        torch.tensor([[0.8], [0.8]]),
        threshold=0.7,
    )
    yes, no = torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.bool)
    assert directed_average_precision(found, no, yes) == 1.0
    assert directed_average_precision(found, yes, no) == 0.5


@pytest.mark.parametrize("threshold", [0.0, 1.1])
def test_a_threshold_that_is_no_share_is_refused(threshold: float) -> None:
    with pytest.raises(InputError, match="threshold"):
        RelationSettings(threshold=threshold)
