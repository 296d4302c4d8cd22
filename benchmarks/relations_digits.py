"""scikit-learn's handwritten digits as pairs of datasets with known relations, clean or as coloured, noisy scene text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

from lat.relations.relation_matrix import RelationMatrix
from lat.relations.samples import LabeledSamples
from lat.relations.taxonomies import CUSTOM_FIRST, CUSTOM_SECOND, Taxonomy, true_relations

DIGITS_FIRST = Taxonomy.of_sets("first", [[digit] for digit in range(10)])
DIGITS_SECOND = Taxonomy.of_sets("second", [[digit] for digit in range(10)])
TAXONOMIES = {"custom": (CUSTOM_FIRST, CUSTOM_SECOND), "digits": (DIGITS_FIRST, DIGITS_SECOND)}


def spread(values: list[float], digits: int = 2) -> str:
    """Mean ± standard deviation over seeds."""
    numbers = torch.tensor(values, dtype=torch.float64)
    return f"{numbers.mean():.{digits}f} ± {numbers.std(correction=0):.{digits}f}"


@dataclass(frozen=True, eq=False)
class DigitPair:
    """Two datasets of digits, their true relations, and each sample's true (first class, second class), -1 for none."""

    first: LabeledSamples
    second: LabeledSamples
    truth: RelationMatrix
    shared_labels: Tensor
    is_one_domain: bool

    @property
    def true_edges(self) -> Tensor:
        assert self.truth.edges is not None
        return self.truth.edges


def digit_pair(taxonomies: str, seed: int, scene_text: bool = False) -> DigitPair:
    """The 1,797 digits split in two halves at random, each labelled by its taxonomy; digits without a class are left out.

    Args:
        taxonomies: `custom` (the paper's) or `digits` (both datasets distinguish all ten).
        seed: determines the split and the drawing.
        scene_text: whether the second half is drawn as coloured, noisy scene text of twice the size, and the first half enlarged.
    """
    generator = torch.Generator().manual_seed(seed)
    data = load_digits()
    pictures, digits = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16, torch.tensor(data.target)
    order = torch.randperm(len(digits), generator=generator)
    parts, shared = [], []
    pair = TAXONOMIES[taxonomies]
    for side, rows in enumerate(order.tensor_split(2)):
        labels = pair[side].relabel(digits[rows])
        rows, labels = rows[labels >= 0], labels[labels >= 0]
        images = pictures[rows]
        if scene_text:
            images = draw_scene_text(images, generator) if side else enlarge(images)
        parts.append(LabeledSamples(images, labels, pair[side].space))
        shared.append(torch.stack([taxonomy.relabel(digits[rows]) for taxonomy in pair], dim=1))
    return DigitPair(parts[0], parts[1], true_relations(*pair), torch.cat(shared), not scene_text)


def enlarge(pictures: Tensor) -> Tensor:
    """(N, 1, 8, 8) -> (N, 3, 16, 16), grey."""
    return F.interpolate(pictures, scale_factor=2, mode="bilinear").expand(-1, 3, -1, -1).contiguous()


def draw_scene_text(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """(N, 1, 8, 8) -> (N, 3, 16, 16): bright coloured strokes on a dark coloured ground, uneven light, and noise."""
    count = len(pictures)
    ink = enlarge(pictures)
    stroke = 0.55 + 0.45 * torch.rand(count, 3, 1, 1, generator=generator)
    ground = 0.4 * torch.rand(count, 3, 1, 1, generator=generator)
    light = 0.2 * torch.rand(count, 1, 1, 1, generator=generator) * torch.linspace(0, 1, ink.shape[3])
    noise = 0.1 * torch.randn(ink.shape, generator=generator)
    return (ink * stroke + (1 - ink) * (ground + light) + noise).clamp(0, 1)
