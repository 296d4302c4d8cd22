"""The device that there is not counts what makes CUDA's host wait, and nothing else; see `waits`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms
from waits import ELSEWHERE, counted_waits, there

from lat.core.copies import numbers_on, to_device, to_host

NUMBERS = torch.tensor([3.0, 0.0, 2.0])
BOXES = torch.tensor([[0.0, 0.0, 9.0, 9.0], [1.0, 0.0, 9.0, 9.0], [20.0, 20.0, 30.0, 30.0]])

WAITS: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda x: x[0].item(),
    "tolist": lambda x: x.tolist(),
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x.sum()),
    "bool": lambda x: bool(x.any()),
    "if": lambda x: 1 if (x > 0).all() else 0,
    "cpu": lambda x: x.cpu(),
    "to the CPU": lambda x: x.to("cpu"),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0)[0],
    "a mask": lambda x: x[x > 0],
    "a mask that is set": lambda x: x.clone().__setitem__(x > 0, 1.0),
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.unique(),
    "repeat_interleave": lambda x: x.repeat_interleave(x.long()),
    "equal": lambda x: torch.equal(x, x),
    "nms": lambda x: nms(there(BOXES), x, 0.5),
    "numbers of a list": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "new numbers": lambda x: x.new_tensor([1.0, 2.0]),
    "from the CPU": lambda x: NUMBERS.to(x.device),
    "an index of the CPU": lambda x: x[torch.tensor([0, 2])],
}

NO_WAITS: dict[str, Callable[[Tensor], Any]] = {
    "arithmetic": lambda x: (x * 2 + 1).exp().sum(),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "masked_fill": lambda x: x.masked_fill(x > 0, 1.0),
    "an index": lambda x: x[x.argsort()],
    "topk": lambda x: x.topk(2),
    "a number of the host": lambda x: x + torch.tensor(2.0),
    "repeat_interleave of a known size": lambda x: x.repeat_interleave(x.long(), output_size=5),
    "zeros": lambda x: x.new_zeros(4) + torch.ones(4, device=x.device),
    "pinned": lambda x: to_device(NUMBERS, x.device) + numbers_on(x.device, [1, 2, 3]),
    "to the host later": lambda x: x.to("cpu", non_blocking=True),
}


@pytest.mark.parametrize("name", WAITS)
def test_what_waits_counts(name: str) -> None:
    with counted_waits() as waits:
        WAITS[name](there(NUMBERS))
        assert len(waits) >= 1, name


@pytest.mark.parametrize("name", NO_WAITS)
def test_what_waits_for_nothing_does_not_count(name: str) -> None:
    with counted_waits() as waits:
        NO_WAITS[name](there(NUMBERS))
        assert waits.found == []


def test_one_copy_of_many_tensors_is_one_wait() -> None:
    with counted_waits() as waits:
        numbers, boxes = to_host([there(NUMBERS), there(BOXES)])
        assert len(waits) == 1
    assert torch.equal(numbers, NUMBERS)
    assert torch.equal(boxes, BOXES)


def test_torchvision_waits_where_it_suppresses_by_class() -> None:
    with counted_waits() as waits:
        batched_nms(there(BOXES), there(NUMBERS), there(torch.tensor([0, 0, 1])), 0.5)
        assert len(waits) >= 1


def test_a_sum_of_both_devices_is_a_mistake() -> None:
    with counted_waits(), pytest.raises(AssertionError, match="mixes tensors here and elsewhere"):
        there(NUMBERS) + NUMBERS
    assert torch.device("meta") == ELSEWHERE
