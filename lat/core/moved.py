"""Move tensors and numbers to a device without waiting for what it computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device. A copy to a GPU is queued behind what the GPU computes; all others are done on return."""
    return tensor.to(device, non_blocking=device.type == "cuda")


def numbers_on(device: torch.device, values: Any, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor of numbers, given as for `torch.tensor`, on a device; a GPU copies it from pinned memory behind its other work."""
    tensor = torch.tensor(values, dtype=dtype)
    return moved(tensor.pin_memory(), device) if device.type == "cuda" else tensor.to(device)
