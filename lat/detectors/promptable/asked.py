"""What the families share: how prompts and images become what a network reads, and several answers one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def joined_scores(parts: Sequence[Tensor]) -> Tensor:
    """(B, sum of Q, sum of K) scores of boxes that were each found for some prompts alone, (B, Q, K) each; 0 for the others."""
    return torch.stack([torch.block_diag(*(part[image] for part in parts)) for image in range(len(parts[0]))])


def padded_texts(tokenizer: Any, texts: Sequence[str], length: int) -> Any:
    """`input_ids` and `attention_mask` (K, length) of K texts, each padded or cut to so many tokens."""
    return tokenizer(
        list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt", return_attention_mask=True
    )


def pixel_values(image_processor: Any, images: list[Tensor], device: torch.device) -> Tensor:
    """The pixels of images (3, H, W) in [0, 1] as a network reads them, on its device."""
    pixels: Tensor = image_processor(images, do_rescale=False, return_tensors="pt", device=device)["pixel_values"]
    return pixels.to(device)
