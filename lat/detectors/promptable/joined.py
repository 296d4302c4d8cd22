"""Answers to several questions about the same images, as if all prompts had been asked for at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def joined_scores(parts: Sequence[Tensor]) -> Tensor:
    """(B, sum of Q, sum of K) scores of boxes that were each found for some prompts alone, (B, Q, K) each; 0 for the others."""
    return torch.stack([torch.block_diag(*(part[image] for part in parts)) for image in range(len(parts[0]))])
