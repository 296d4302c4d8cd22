"""Laws of boxes: what is done to all of them and to the image is done to the result, and their order does not matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mutations import examples
from torch import Tensor

from lat.core.decoded_proposals import DecodedProposals, KnownProposals
from lat.core.label_space import LabelSpace
from lat.core.origin import Origin
from lat.core.structures import Proposals
from lat.evaluation.box_matching import match_boxes
from lat.labelling.conventions import BoxConventions
from lat.labelling.keep_and_fuse import labels_of
from lat.labelling.labelling_settings import CombineSettings, DecodeSettings

SIDE = 64
TARGET = LabelSpace.from_names("target", ["bus", "truck"])
DECODE = DecodeSettings(written_threshold=0.1)
Move = tuple[Callable[[Tensor], Tensor], int]
"""What happens to boxes (..., 4), and the side of the square image afterwards."""

MOVES: dict[str, Move] = {
    "scaled": (lambda boxes: boxes * 2, 2 * SIDE),
    "mirrored": (lambda boxes: torch.stack([SIDE - boxes[..., 2], boxes[..., 1], SIDE - boxes[..., 0], boxes[..., 3]], -1), SIDE),
    "turned upside down": (
        lambda boxes: torch.stack([boxes[..., 0], SIDE - boxes[..., 3], boxes[..., 2], SIDE - boxes[..., 1]], -1),
        SIDE,
    ),
    "transposed": (lambda boxes: boxes[..., [1, 0, 3, 2]], SIDE),
}
SIDES_MOVED = {  # where each side of a box has its offset afterwards, and with which sign
    "scaled": ([0, 1, 2, 3], [1, 1, 1, 1]),
    "mirrored": ([2, 1, 0, 3], [-1, 1, -1, 1]),
    "turned upside down": ([0, 3, 2, 1], [1, -1, 1, -1]),
    "transposed": ([1, 0, 3, 2], [1, 1, 1, 1]),
}


@st.composite
def boxes(draw: st.DrawFn, most: int = 8) -> Tensor:
    """Boxes of quarters of pixels, which float32 moves and scales exactly, none of them within two pixels of the border."""
    rows = []
    for _ in range(draw(st.integers(1, most))):
        x, y = draw(st.integers(9, 120)), draw(st.integers(9, 120))
        rows.append([x, y, x + draw(st.integers(8, 127)), y + draw(st.integers(8, 127))])
    return torch.tensor(rows).clamp(max=4 * SIDE - 9) / 4


def decoded(xyxy: Tensor, seed: int, num_human: int, side: int) -> DecodedProposals:
    """Proposals with drawn scores, no two of them equal; the model draws each where it is."""
    count, generator = len(xyxy), torch.Generator().manual_seed(seed)
    is_human = torch.arange(count) < num_human
    origin = torch.where(is_human, int(Origin.GROUND_TRUTH), int(Origin.PSEUDO_LABEL))
    zeros = torch.zeros(count, dtype=torch.int64)
    proposals = Proposals(xyxy, torch.zeros(count, 3), torch.ones(count), origin, zeros, torch.arange(count), zeros)
    scores = torch.rand(count, 3, generator=generator).softmax(dim=1)
    known = KnownProposals(proposals, zeros, torch.tensor([[side, side]]), torch.where(is_human, 0, -1))
    return DecodedProposals(known, scores, torch.zeros(count, 3), xyxy[:, None].repeat(1, 2, 1))


def known(offsets: Tensor) -> BoxConventions:
    return BoxConventions(
        offsets.expand(1, 2, 4).clone(),
        torch.full((1, 2, 4), 0.001),
        torch.full((2, 4), 0.01),
        torch.zeros(2, 4),
        torch.zeros(1, 2, 4),
    )


@pytest.mark.parametrize("name", MOVES)
@examples(0.3)
@given(xyxy=boxes(), seed=st.integers(0, 99), num_human=st.integers(0, 2))
def test_labels_move_with_the_image(name: str, xyxy: Tensor, seed: int, num_human: int) -> None:
    move, side = MOVES[name]
    places, signs = SIDES_MOVED[name]
    offsets = torch.tensor([0.02, -0.01, 0.03, 0.0])
    moved_offsets = offsets[places] * torch.tensor(signs)
    combining = CombineSettings(detector_share=0.0)
    found, rows = labels_of(decoded(xyxy, seed, num_human, SIDE), TARGET, DECODE, combining, known(offsets))
    again, rows_again = labels_of(decoded(move(xyxy), seed, num_human, side), TARGET, DECODE, combining, known(moved_offsets))
    assert torch.equal(rows, rows_again)
    assert torch.equal(found.labels, again.labels)
    torch.testing.assert_close(found.scores, again.scores)
    torch.testing.assert_close(move(found.boxes_xyxy), again.boxes_xyxy, rtol=0, atol=1e-3)


@examples(0.3)
@given(xyxy=boxes(), seed=st.integers(0, 99), data=st.data())
def test_the_order_of_proposals_does_not_change_the_labels(xyxy: Tensor, seed: int, data: st.DataObject) -> None:
    order = torch.tensor(data.draw(st.permutations(range(len(xyxy)))))
    combining = CombineSettings(keep=False, detector_share=0.0)
    image = decoded(xyxy, seed, 0, SIDE)
    known_again = replace(image.known, proposals=image.known.proposals[order], source_labels=image.known.source_labels[order])
    columns = (column[order] for column in (image.class_scores, image.detector_scores, image.boxes_xyxy))
    found, rows = labels_of(image, TARGET, DECODE, combining)
    again, rows_again = labels_of(DecodedProposals(known_again, *columns), TARGET, DECODE, combining)
    assert torch.equal(rows, order[rows_again])
    torch.testing.assert_close(found.boxes_xyxy, again.boxes_xyxy, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", MOVES)
@examples(0.3)
@given(xyxy=boxes())
def test_conventions_move_with_the_image(name: str, xyxy: Tensor) -> None:
    move, side = MOVES[name]
    places, signs = SIDES_MOVED[name]
    offsets = torch.tensor([0.1, -0.05, 0.2, 0.15])
    zeros = torch.zeros(len(xyxy), dtype=torch.int64)
    sizes = torch.tensor([[SIDE, SIDE]]).expand(len(xyxy), 2)
    found = known(offsets).moved(xyxy, zeros, zeros, sizes)
    again = known(offsets[places] * torch.tensor(signs)).moved(move(xyxy), zeros, zeros, sizes * side // SIDE)
    torch.testing.assert_close(move(found), again, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["scaled", "mirrored", "turned upside down", "transposed"])
@examples(0.3)
@given(first=boxes(), second=boxes(), data=st.data())
def test_matches_are_those_of_moved_boxes_in_another_order(name: str, first: Tensor, second: Tensor, data: st.DataObject) -> None:
    move = MOVES[name][0]
    scores = np.arange(len(second)) / len(second)
    found = match_boxes(first.numpy(), second.numpy(), 0.3, second_scores=scores)
    moved = match_boxes(move(first).numpy(), move(second).numpy(), 0.3, second_scores=scores)
    assert found.second.tolist() == moved.second.tolist()
    order = np.array(data.draw(st.permutations(range(len(second)))))
    shuffled = match_boxes(first.numpy(), second.numpy()[order], 0.3, second_scores=scores[order])
    np.testing.assert_array_equal(found.second, order[shuffled.second])
    np.testing.assert_array_equal(found.iou, shuffled.iou)


@examples(0.2)
@given(xyxy=boxes(40), seed=st.integers(0, 99))
def test_labels_of_given_scores_do_not_depend_on_the_number_of_threads(xyxy: Tensor, seed: int) -> None:
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(labels_of(decoded(xyxy, seed, 2, SIDE), TARGET, DECODE, CombineSettings(), known(torch.zeros(4)))[0])
    torch.set_num_threads(before)
    for name in ("boxes_xyxy", "scores", "labels"):
        assert torch.equal(getattr(found[0], name), getattr(found[1], name)), name
