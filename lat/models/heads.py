"""The heads of the label-transfer model: two-layer box head, classes over the joint label space, class-specific deltas."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class BoxHead(nn.Module):
    """Pooled region features (R, C, S, S) -> (R, D) through two linear layers with ReLU."""

    def __init__(self, channels: int, pooled_size: int, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(start_dim=1),
            nn.Linear(channels * pooled_size * pooled_size, dim),
            nn.ReLU(),
            nn.Linear(dim, dim),
            nn.ReLU(),
        )

    def forward(self, pooled: Tensor) -> Tensor:
        result: Tensor = self.layers(pooled)
        return result


class TransferPredictor(nn.Module):
    """Fused features (..., D) -> logits (..., L) and box deltas (..., K, 4), one per class.

    Deltas are class-specific because the class determines the box convention.
    """

    def __init__(self, dim: int, num_classes: int, num_logits: int) -> None:
        super().__init__()
        self.classes = nn.Linear(dim, num_logits)
        self.deltas = nn.Linear(dim, num_classes * 4)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.normal_(self.deltas.weight, std=0.001)
        for layer in (self.classes, self.deltas):
            nn.init.zeros_(layer.bias)

    def forward(self, fused: Tensor) -> tuple[Tensor, Tensor]:
        return self.classes(fused), self.deltas_of(fused, slice(None))

    def deltas_of(self, fused: Tensor, classes: slice) -> Tensor:
        """Box deltas (..., K_t, 4) of some classes alone: the rest of the layer is not computed."""
        weight, bias = self.deltas.weight.unflatten(0, (-1, 4))[classes], self.deltas.bias.unflatten(0, (-1, 4))[classes]
        result: Tensor = F.linear(fused, weight.flatten(0, 1), bias.flatten(0, 1)).unflatten(-1, (-1, 4))
        return result
