"""Relations of plain classification sets: pairs of an image and its class, and a ResNet-18 that learns from them."""

from __future__ import annotations

import pytest
import torch
from factories import label_space
from torch import Tensor

from lat.core.errors import InputError
from lat.relations.extractors import build_extractor
from lat.relations.find import find_relations
from lat.relations.relation_settings import RelationSearch, RelationSettings, RelationTraining
from lat.relations.samples import image_samples

CROPS = RelationSettings(method="missing_link", features="crops")
FEW = RelationTraining(steps=10, batch_size=16, dim=16)


def coloured(channel: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """A noisy image that is bright in one channel."""
    image = 0.2 * torch.rand(3, height, width, generator=generator)
    image[channel] += 0.7
    return image


def test_images_of_any_size_become_squares_of_one() -> None:
    images = [torch.full((3, 4, 6), 0.5), torch.cat([torch.zeros(3, 8, 4), torch.ones(3, 8, 4)], dim=2)]
    pairs = image_samples(images * 2, [1, 0, 1, 0], label_space("a", ("x", "y")), 2)
    assert pairs.inputs.shape == (4, 3, 2, 2)
    torch.testing.assert_close(pairs.inputs[0], torch.full((3, 2, 2), 0.5))
    # The left half is dark, the right one bright; antialiasing lets a little of each into the other.
    assert pairs.inputs[1, 0, 0, 0] < 0.25
    assert pairs.inputs[1, 0, 0, 1] > 0.75


def test_a_resnet_finds_which_colours_are_the_same_class() -> None:
    generator = torch.Generator().manual_seed(0)
    images = [[coloured(i % 2, 12, 16, generator) for i in range(24)] for _ in range(2)]
    first = image_samples(images[0], [i % 2 for i in range(24)], label_space("a", ("red", "green")), 16)
    second = image_samples(images[1], [1 - i % 2 for i in range(24)], label_space("b", ("lime", "crimson")), 16)
    found = find_relations(first, second, CROPS, 0, FEW)
    assert found.related.tolist() == [[False, True], [True, False]]


def test_features_of_crops_are_those_of_a_resnet() -> None:
    samples = image_samples([torch.rand(3, 9, 9)] * 2, [0, 0], label_space("a", ("x",)), 8)
    names = {type(part).__name__ for part in build_extractor(samples, RelationSearch(CROPS, FEW)).modules()}
    assert "ResNet" in names
    assert "ResNet" not in {type(part).__name__ for part in build_extractor(samples, RelationSearch()).modules()}
    with pytest.raises(InputError, match=r"features: is 'pixels'"):
        RelationSettings(features="pixels")
