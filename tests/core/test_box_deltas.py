"""Box deltas by hand, and bit for bit beside those of torchvision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder

from lat.core.box_deltas import decode_boxes, encode_boxes

THEIRS = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))


def boxes(count: int, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    corner = 600 * torch.rand(count, 2, generator=draw)
    return torch.cat([corner, corner + 0.5 + 200 * torch.rand(count, 2, generator=draw)], dim=1)


def test_deltas_by_hand() -> None:
    region, box = torch.tensor([[0.0, 0.0, 10.0, 20.0]]), torch.tensor([[5.0, 10.0, 25.0, 20.0]])
    # centres (5, 10) and (15, 15); sides 10 x 20 and 20 x 10
    deltas = encode_boxes(box, region)
    assert deltas[0].tolist() == pytest.approx([10.0, 2.5, 5 * math.log(2), -5 * math.log(2)])
    torch.testing.assert_close(decode_boxes(deltas[:, None], region)[:, 0], box)
    huge = decode_boxes(torch.tensor([[[0.0, 0.0, 1e6, 0.0]]]), region)[0, 0]
    assert huge.tolist() == pytest.approx([5 - 625 / 2, 0.0, 5 + 625 / 2, 20.0])


@pytest.mark.parametrize("count", [0, 1, 2000])
def test_every_number_is_torchvisions(count: int) -> None:
    wanted, regions = boxes(count, 0), boxes(count, 1)
    assert torch.equal(encode_boxes(wanted, regions), THEIRS.encode_single(wanted, regions))
    deltas = 8 * torch.randn(count, 3, 4, generator=torch.Generator().manual_seed(2))
    theirs = THEIRS.decode_single(deltas.reshape(count, 12), regions).reshape(count, 3, 4)
    assert torch.equal(decode_boxes(deltas, regions), theirs)


def test_gradients_are_torchvisions() -> None:
    regions, deltas = boxes(50, 1), torch.randn(50, 2, 4, generator=torch.Generator().manual_seed(2))
    ours, theirs = deltas.clone().requires_grad_(), deltas.clone().requires_grad_()
    decode_boxes(ours, regions).square().sum().backward()
    THEIRS.decode_single(theirs.reshape(50, 8), regions).square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
