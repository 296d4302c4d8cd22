"""Pairs of a region and a class: which are valid, which are open, and how they are drawn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lat.baselines.baseline_settings import LgplSettings
from lat.baselines.lgpl_pairs import draw_pairs, jittered_copies, match_to_classes
from lat.core.errors import InputError

CAR, TRUCK, CROWD = [0.0, 0.0, 20.0, 20.0], [40.0, 0.0, 80.0, 20.0], [0.0, 40.0, 40.0, 80.0]
FAR = [60.0, 60.0, 70.0, 70.0]


def target(boxes: list[list[float]], labels: list[int], weights: list[float]) -> dict[str, Tensor]:
    """Labels count from 1, as inside torchvision; -1 is don't-care."""
    return {
        "boxes": torch.tensor(boxes).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "weights": torch.tensor(weights),
    }


STREET = target([CAR, TRUCK, CROWD], [1, 2, -1], [1.0, 0.25, 0.0])
NOTHING = target([], [], [])


def test_a_region_is_valid_for_the_classes_of_its_boxes() -> None:
    half_car = [0.0, 0.0, 20.0, 10.0]  # IoU 1/2
    less = [0.0, 0.0, 20.0, 9.0]
    in_crowd = [0.0, 50.0, 10.0, 60.0]
    regions = torch.tensor([half_car, less, TRUCK, in_crowd, FAR])
    valid, counted = match_to_classes(regions, STREET, 3, match_iou=0.5)
    assert valid.tolist() == [[True, False, False], [False] * 3, [False, True, False], [False] * 3, [False] * 3]
    assert counted.all(dim=1).tolist() == [True, True, True, False, True]


def test_without_boxes_every_pair_is_invalid() -> None:
    valid, counted = match_to_classes(torch.tensor([CAR, FAR]), NOTHING, 3, match_iou=0.5)
    assert not valid.any()
    assert counted.all()
    pairs = draw_pairs(torch.tensor([CAR, FAR]), NOTHING, 3, LgplSettings(pairs_per_image=10))
    assert not pairs.valid.any()
    assert len(pairs.classes) == 10


def test_drawn_pairs_are_balanced_and_their_classes_uniform() -> None:
    torch.manual_seed(0)
    regions = torch.tensor([CAR, TRUCK, CROWD, FAR, *[[80.0 + i, 60.0, 95.0 + i, 70.0] for i in range(50)]])
    pairs = draw_pairs(regions, STREET, 3, LgplSettings(pairs_per_image=6000, valid_share=0.75))
    counts = torch.bincount(pairs.classes, minlength=3)
    assert counts.sum() == 6000
    assert (counts - 2000).abs().max() < 150
    # Three quarters of the pairs of a class that the image has are valid, although one region of 54 is; none of the others.
    shares = [pairs.valid[pairs.classes == k].float().mean().item() for k in range(3)]
    assert shares == pytest.approx([0.75, 0.75, 0.0], abs=0.04)
    is_crowd = (pairs.regions_xyxy == torch.tensor(CROWD)).all(dim=1)
    assert not is_crowd.any()
    wanted = torch.tensor([CAR, TRUCK])
    assert torch.equal(pairs.boxes_xyxy[pairs.valid], wanted[pairs.classes[pairs.valid]])
    assert torch.equal(pairs.weights[pairs.valid], torch.tensor([1.0, 0.25])[pairs.classes[pairs.valid]])
    assert (pairs.weights[~pairs.valid] == 1.0).all()


def test_the_wanted_box_is_of_the_class_of_the_pair() -> None:
    wide = [0.0, 0.0, 20.0, 12.0]
    both = target([CAR, wide], [1, 2], [1.0, 1.0])
    pairs = draw_pairs(torch.tensor([wide]), both, 2, LgplSettings(pairs_per_image=20))  # IoU 0.6 with CAR, 1 with itself
    assert pairs.valid.all()
    assert torch.equal(pairs.boxes_xyxy, torch.tensor([CAR, wide])[pairs.classes])


def test_draws_depend_on_the_global_seed_alone() -> None:
    regions = torch.tensor([CAR, TRUCK, FAR])
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(draw_pairs(regions, STREET, 3, LgplSettings()).regions_xyxy.tolist())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("regions", [torch.zeros(0, 4), torch.tensor([CROWD])])
def test_nothing_to_draw(regions: Tensor) -> None:
    pairs = draw_pairs(regions, STREET, 3, LgplSettings())
    assert pairs.regions_xyxy.shape == (0, 4)
    assert len(pairs.classes) == len(pairs.valid) == len(pairs.weights) == 0


def test_copies_are_moved_by_at_most_the_scale_and_stay_inside() -> None:
    copies = jittered_copies(STREET, (100, 82), LgplSettings(jittered_copies=50, jitter_scale=0.1))
    assert copies.shape == (100, 4)
    moves = (copies - torch.tensor([CAR, TRUCK]).repeat(50, 1)).abs()
    assert (moves[::2] <= 2.0).all()
    assert (moves[1::2] <= torch.tensor([4.0, 2.0, 4.0, 2.0])).all()
    assert moves[1::2, 0].max() > 3.5
    assert copies[1::2, 2].max() == 82.0  # the border
    assert jittered_copies(STREET, (100, 82), LgplSettings(jittered_copies=0)).shape == (0, 4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pairs_per_image", 0),
        ("jittered_copies", -1),
        ("valid_share", 0.0),
        ("match_iou", 1.5),
        ("least_precision", 0.0),
        ("jitter_scale", 0.5),
    ],
)
def test_settings_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"^{name}: is {value}"):
        LgplSettings(**{name: value})
