"""Semantic Feature Fusion (SFF): overlapping proposals of all label spaces enrich each other's region features.

Shape letters: B images, M proposals per image (padded), D channels of a region feature, K classes of the joint space.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lat.core.losses import masked_softmax
from lat.models.model_settings import FusionSettings


class SemanticFeatureFusion(nn.Module):
    """LayerNorm(x + SA) with SA = cap(softmax(A)) V_c + softmax(A with key confidence) V_r and A = QK^T / sqrt(D).

    Q, K and V_r are linear in the region features x, V_c is linear in the class scores. The cap limits each row's largest
    weight to T = 1/sqrt(N) for N datasets, so that a class seen by a single proposal counts less than one on which several
    agree. Softmax runs in float32.

    Source: Label-Aligned Transfer, section 3.3 (the text scales a row, the formula clamps it: `cap`).
    """

    def __init__(self, dim: int, num_classes: int, num_datasets: int, settings: FusionSettings) -> None:
        super().__init__()
        self.settings = settings
        self.cap_at = 1.0 / math.sqrt(num_datasets)
        self.norm = nn.LayerNorm(dim)
        if settings.attention != "none":
            self.query = nn.Linear(dim, dim)
            self.key = nn.Linear(dim, dim)
            self.region_value = nn.Linear(dim, dim)
            self.class_value = nn.Linear(num_classes, dim)

    def forward(self, regions: Tensor, class_scores: Tensor, confidence: Tensor, attendable: Tensor) -> Tensor:
        """Fuse the proposals of each image.

        Args:
            regions: (B, M, D) region features.
            class_scores: (B, M, K) class scores over the joint label space.
            confidence: (B, M) in [0, 1].
            attendable: (B, M, M) bool, query row, key column. Rows without any key get no fused value.

        Returns:
            (B, M, D) fused features.
        """
        features = regions
        if self.settings.attention != "none":
            fused = self._attend(regions, class_scores, confidence, attendable)
            features = regions + fused if self.settings.residual else fused
        normed: Tensor = self.norm(features)
        return normed

    def _attend(self, regions: Tensor, class_scores: Tensor, confidence: Tensor, attendable: Tensor) -> Tensor:
        settings = self.settings
        class_value, region_value = self.class_value(class_scores), self.region_value(regions)
        with torch.autocast(regions.device.type, enabled=False):
            query, key = self.query(regions.float()), self.key(regions.float())
            logits = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
            class_weights = masked_softmax(logits, attendable)
            if settings.attention == "standard":
                return torch.matmul(class_weights, class_value.float() + region_value.float())
            region_weights = masked_softmax(self._with_confidence(logits, confidence), attendable)
            if settings.cap_branch == "class":
                class_weights = self._cap(class_weights)
            else:
                region_weights = self._cap(region_weights)
            return torch.matmul(class_weights, class_value.float()) + torch.matmul(region_weights, region_value.float())

    def _with_confidence(self, logits: Tensor, confidence: Tensor) -> Tensor:
        keys = confidence.float()[:, None, :]
        if self.settings.confidence == "multiply":
            return logits * keys
        return logits + keys.clamp(min=1e-6).log()

    def _cap(self, weights: Tensor) -> Tensor:
        """Limit every row's largest weight to 1/sqrt(N); rows below it are unchanged."""
        if self.settings.cap == "none" or weights.shape[-1] == 0:
            return weights
        if self.settings.cap == "clamp":
            return weights.clamp(max=self.cap_at)
        largest = weights.amax(dim=-1, keepdim=True)
        return weights * (self.cap_at / largest.clamp(min=self.cap_at))
