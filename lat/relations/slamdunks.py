"""SLAMDUNKS: one extractor under two competing heads finds which classes of two label spaces are shared.

Shape letters: B samples, D channels of a feature, K1 and K2 classes of the spaces, U = (K1 + 1)(K2 + 1) - 1 universal classes.
Universal class i (K2 + 1) + j is shared by first class i and second class j; with j = K2 it is first class i alone, with i = K1
second class j alone. The last one, the rest of both worlds, does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lat.relations.samples import LabeledSamples


@dataclass(frozen=True)
class GridSize:
    """Class counts of the two spaces."""

    k1: int
    k2: int

    @property
    def universal(self) -> int:
        """Number U of universal classes."""
        return (self.k1 + 1) * (self.k2 + 1) - 1

    def grid(self, values: Tensor, corner: float) -> Tensor:
        """Values of universal classes (B, U) as (B, K1 + 1, K2 + 1), with `corner` where there is no class."""
        result: Tensor = F.pad(values, (0, 1), value=corner).unflatten(1, (self.k1 + 1, self.k2 + 1))
        return result


def log_posterior(universal_logits: Tensor, gate_logits: Tensor, size: GridSize) -> Tensor:
    """ln P(Y = y | x) of every class of both spaces, computed in log space.

    Args:
        universal_logits: (B, U) float, l of the classification head.
        gate_logits: (B, K1 + K2) float, z of the gating head; a large value means that the class stands alone.
        size: numbers of classes.

    Returns:
        (B, K1 + K2) float <= 0, first the classes of the first space:
        ln[(1 - c_y) sum of P(S) over the shared classes of y + c_y P(D = d_y)] with c_y = sigmoid(z_y).

    Source: SLAMDUNKS, equations 1 to 7.
    """
    grid = size.grid(F.log_softmax(universal_logits, dim=1), corner=float("-inf"))
    shared = grid[:, : size.k1, : size.k2]
    of_shared = torch.cat([shared.logsumexp(dim=2), shared.logsumexp(dim=1)], dim=1)
    of_standalone = torch.cat([grid[:, : size.k1, size.k2], grid[:, size.k1, : size.k2]], dim=1)
    return torch.logaddexp(F.logsigmoid(-gate_logits) + of_shared, F.logsigmoid(gate_logits) + of_standalone)


def slamdunks_loss(
    universal_logits: Tensor, gate_logits: Tensor, labels: Tensor, size: GridSize, standalone_bias: Tensor
) -> Tensor:
    """Mean of -ln P(Y = y | x) - lambda ln P(C_y = 1 | x).

    Args:
        universal_logits: (B, U) float.
        gate_logits: (B, K1 + K2) float.
        labels: (B,) int64 in 0..K1 + K2 - 1, first the classes of the first space.
        size: numbers of classes.
        standalone_bias: (K1 + K2,) float, lambda of each class; the paper has one for all.

    Source: SLAMDUNKS, equation 8.
    """
    of_label = labels[:, None]
    posterior = log_posterior(universal_logits, gate_logits, size).gather(1, of_label)
    bias = standalone_bias[labels][:, None]
    return -(posterior + bias * F.logsigmoid(gate_logits.gather(1, of_label))).mean()


class Slamdunks(nn.Module):
    """A shared feature extractor under the gating head and the classification head.

    Args:
        extractor: inputs (B, ...) -> features (B, D).
        dim: channels D of its features.
        size: numbers of classes.
        zero_init: True starts both heads at zero, so that all relations are equally likely.
    """

    def __init__(self, extractor: nn.Module, dim: int, size: GridSize, zero_init: bool = True) -> None:
        super().__init__()
        self.extractor = extractor
        self.size = size
        self.gating = nn.Linear(dim, size.k1 + size.k2)
        self.classification = nn.Linear(dim, size.universal)
        if zero_init:
            for head in (self.gating, self.classification):
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Universal logits (B, U) and gate logits (B, K1 + K2)."""
        features = self.extractor(inputs)
        return self.classification(features), self.gating(features)

    @torch.no_grad()
    def universal_probabilities(self, samples: LabeledSamples) -> Tensor:
        """P(universal class | x) of each sample as (N, K1 + 1, K2 + 1), 0 in the corner; without the gating head."""
        self.eval()
        probabilities = torch.cat([self(chunk)[0].softmax(dim=1) for chunk in samples.inputs.split(1024)])
        self.train()
        return self.size.grid(probabilities, corner=0.0)
