"""Copies between the host and a device, so that neither waits for the other more often than it must."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_ALIGNMENT = 8  # bytes: every tensor begins where any number may begin


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors on the CPU: those of a device in one copy, for which the program waits once."""
    if all(one.device.type == "cpu" for one in tensors):
        return list(tensors)
    packed = torch.cat([_bytes_of(one) for one in tensors]).cpu()
    on_host, start = [], 0
    for one in tensors:
        size = one.numel() * one.element_size()
        on_host.append(packed[start : start + size].view(one.dtype).view(one.shape))
        start += _padded(size)
    return on_host


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor on a device; the program does not wait for a copy to a GPU of CUDA."""
    device = torch.device(device)
    if tensor.device.type == "cpu" and device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type not in ("cpu", "mps"))


def numbers_on(device: torch.device, values: Any, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor of numbers, given as for `torch.tensor`, on a device; the program does not wait for the copy."""
    return to_device(torch.tensor(values, dtype=dtype), device)


def _bytes_of(tensor: Tensor) -> Tensor:
    """(A,) uint8: the bytes of a tensor, filled up."""
    content = tensor.contiguous().flatten().view(torch.uint8)
    return torch.nn.functional.pad(content, (0, _padded(len(content)) - len(content)))


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
