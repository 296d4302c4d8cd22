"""Samples from which relations are found: box crops or region features, each with a class; and how they are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lat.core.errors import InputError
from lat.core.label_space import LabelSpace

MIN_SAMPLES = 2


@dataclass(frozen=True, eq=False)
class LabeledSamples:
    """Samples of one label space.

    Attributes:
        inputs: (N, ...) float32, one feature vector, feature map or image crop per sample.
        labels: (N,) int64 class indices 0..K-1.
        space: the label space of `labels`.
        fewest: samples that every class must have.

    Raises:
        InputError: if a class has fewer than `fewest` samples: one box does not show a relation.
        ValueError: if a field has another shape or dtype, is not finite, or is out of its range.
    """

    inputs: Tensor
    labels: Tensor
    space: LabelSpace
    fewest: int = MIN_SAMPLES

    def __post_init__(self) -> None:
        if self.labels.shape != self.inputs.shape[:1] or self.labels.dtype != torch.int64:
            raise ValueError(f"labels must be ({len(self.inputs)},) int64, got {tuple(self.labels.shape)} {self.labels.dtype}")
        if self.inputs.dtype != torch.float32 or not torch.isfinite(self.inputs).all():
            raise ValueError("inputs must be finite float32")
        if len(self.labels) and (self.labels.min() < 0 or self.labels.max() >= len(self.space)):
            raise ValueError(f"labels must be 0..{len(self.space) - 1}, the classes of {self.space.name}")
        for name, count in zip(self.space.class_names, self.class_counts.tolist(), strict=True):
            if count < self.fewest:
                boxes = "one box" if count == 1 else "no box"
                what = f"class '{name}' has {boxes} to learn from"
                raise InputError(self.space.name, what, f"label at least {self.fewest}, or remove the class from the list")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def class_counts(self) -> Tensor:
        """(K,) int64, samples of each class."""
        return torch.bincount(self.labels, minlength=len(self.space))

    def standardized(self) -> LabeledSamples:
        """The same samples with mean 0 and standard deviation 1 in every position; a position that never varies becomes 0."""
        deviation, mean = torch.std_mean(self.inputs, dim=0)
        scaled = (self.inputs - mean) / torch.where(deviation > 0, deviation, 1.0)
        return replace(self, inputs=scaled)

    def hold_out(self, share: float, generator: torch.Generator) -> tuple[LabeledSamples, LabeledSamples]:
        """The training and the held-out samples: about `share` of each class is held out, at least one on either side.

        Either part may have classes with a single sample: `fewest` applies only to user input.
        """
        order = torch.randperm(len(self), generator=generator)
        is_held_out = torch.zeros(len(self), dtype=torch.bool)
        for index, count in enumerate(self.class_counts.tolist()):
            rows = order[self.labels[order] == index]
            is_held_out[rows[: max(1, int(share * count))]] = True
        return self._rows(~is_held_out), self._rows(is_held_out)

    def _rows(self, chosen: Tensor) -> LabeledSamples:
        return replace(self, inputs=self.inputs[chosen], labels=self.labels[chosen], fewest=1)

    def class_means(self, values: Tensor) -> Tensor:
        """Mean of per-sample values (N, V) over the samples of each class, (K, V)."""
        sums = values.new_zeros(len(self.space), values.shape[1]).index_add_(0, self.labels, values)
        return sums / self.class_counts[:, None]


def image_samples(images: Iterable[Tensor], labels: Sequence[int], space: LabelSpace, side: int) -> LabeledSamples:
    """Images or crops with their classes, as samples (N, 3, side, side).

    Args:
        images: N images, each (3, H, W) float32 RGB in [0, 1] of any size; stretched to a square.
        labels: their classes, 0..K-1.
        space: the classes.
        side: side length in pixels.
    """
    size = (side, side)
    squares = [F.interpolate(image[None], size, mode="bilinear", antialias=True, align_corners=False) for image in images]
    return LabeledSamples(torch.cat(squares), torch.tensor(labels, dtype=torch.int64), space)


def draw_evenly(labels: Tensor, most: int, seed: int) -> Tensor:
    """(N,) bool: all samples if they are `most` or fewer, else at most so many, by seed: as many of each class as of any other
    that has them, and all of the classes that have fewer. Each class keeps `MIN_SAMPLES` whatever `most` is.

    Args:
        labels: (N,) int64 class of each sample.
        most: how many there may be.
        seed: of the draw, in which all samples of a class are equally likely.
    """
    if len(labels) <= most:
        return torch.ones(len(labels), dtype=torch.bool)
    counts = torch.bincount(labels)
    each = torch.arange(MIN_SAMPLES, int(counts.max()) + 1)
    fitting = each[torch.minimum(counts, each[:, None]).sum(dim=1) <= most]
    kept = int(fitting[-1]) if len(fitting) else MIN_SAMPLES
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    drawn = torch.zeros(len(labels), dtype=torch.bool)
    for label in counts.nonzero()[:, 0].tolist():
        drawn[order[labels[order] == label][:kept]] = True
    return drawn


def check_comparable(first: LabeledSamples, second: LabeledSamples) -> None:
    """Check that one feature extractor can take both samples.

    Raises:
        InputError: if samples of the two datasets differ in size.
    """
    if first.inputs.shape[1:] != second.inputs.shape[1:]:
        sizes = (" x ".join(map(str, samples.inputs.shape[1:])) for samples in (first, second))
        what = f"samples of {first.space.name} are {next(sizes)}, those of {second.space.name} {next(sizes)}"
        raise InputError(f"{first.space.name}, {second.space.name}", what, "resize both to one size")


def draw_batches(samples: LabeledSamples, batch_size: int, is_weighted: bool, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless batches (batch_size,) of sample indices, drawn with replacement.

    Args:
        samples: what to draw from.
        batch_size: indices per batch.
        is_weighted: whether every class is drawn equally often, however rare; otherwise every sample.
        generator: where the randomness comes from.

    Source: SLAMDUNKS, section 4.5 (weighted sampling that favours rarer classes within each dataset).
    """
    counts = samples.class_counts.double()
    weights = (1 / counts)[samples.labels] if is_weighted else torch.ones(len(samples), dtype=torch.float64)
    while True:
        yield torch.multinomial(weights, batch_size, replacement=True, generator=generator)
