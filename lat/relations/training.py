"""Train classifiers on labelled samples: the loop shared by all methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lat.relations.relation_settings import RelationSearch
from lat.relations.samples import LabeledSamples, draw_batches


def minimise(loss: Callable[[], Tensor], parameters: Iterable[Any], steps: int, learning_rate: float) -> None:
    """Take `steps` steps of Adam, without weight decay, calling `loss` at each step.

    Raises:
        FloatingPointError: if the loss is not finite.
    """
    optimizer = torch.optim.Adam(list(parameters), learning_rate)
    for step in range(steps):
        value = loss()
        if not torch.isfinite(value):
            raise FloatingPointError(f"the loss is {value.item()} at step {step}; lower RelationTraining.learning_rate")
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


def train_heads(
    extractor: nn.Module, parts: Sequence[LabeledSamples], search: RelationSearch, steps: int, generator: torch.Generator
) -> list[nn.Linear]:
    """Train an extractor (B, ...) -> (B, dim) with a softmax head for each part; returns the heads.

    Source: Kalluri et al. (2019), dataset-specific heads, as in SLAMDUNKS, section 5.3.
    """
    heads = [nn.Linear(search.training.dim, len(part.space)) for part in parts]
    size = search.training.batch_size // len(parts)
    batches = [draw_batches(part, size, search.training.weighted_sampling, generator) for part in parts]

    def loss() -> Tensor:
        rows = [next(batch) for batch in batches]
        features = extractor(torch.cat([part.inputs[i] for part, i in zip(parts, rows, strict=True)]))
        losses = [
            F.cross_entropy(head(of_part), part.labels[i])
            for head, of_part, part, i in zip(heads, features.split(size), parts, rows, strict=True)
        ]
        return torch.stack(losses).mean()

    minimise(loss, [*extractor.parameters(), *nn.ModuleList(heads).parameters()], steps, search.training.learning_rate)
    return heads
