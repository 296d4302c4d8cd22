"""Selecting rows by a mask without waiting for the device: how many there are is known before, on the host."""

from __future__ import annotations

import torch
from torch import Tensor


def rows_where(mask: Tensor, count: int) -> Tensor:
    """(count,) int64: the places where `mask` (A,) bool is True, of which there are `count`, ascending.

    As `mask.nonzero()`, which has to ask the device how many.
    """
    place = torch.where(mask, mask.cumsum(0) - 1, count)
    rows = torch.empty(count + 1, dtype=torch.int64, device=mask.device)  # what is False goes to the last
    rows.scatter_(0, place, torch.arange(len(mask), device=mask.device))
    return rows[:count]
