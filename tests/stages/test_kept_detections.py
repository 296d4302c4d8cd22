"""Detections of many images at once are kept as those of each image alone."""

from __future__ import annotations

import pytest
import torch
from factories import label_space

from lat.core.label_space import LabelSpace
from lat.core.structures import LabeledBoxes
from lat.stages.shared.kept_detections import IMAGES_AT_ONCE, MOST_AT_ONCE, keep_of_images, keep_pseudo_labels

CITY = label_space("city", ("car", "person", "rider"))


def some_boxes(count: int, side: float, random: torch.Generator, space: LabelSpace = CITY) -> LabeledBoxes:
    """Boxes of which some have no area, with few different scores."""
    corners = side * torch.rand(count, 2, generator=random)
    sides = (side / 3 * torch.rand(count, 2, generator=random) - 1).clamp(min=0)
    class_scores = torch.rand(count, len(space), generator=random)
    scores, labels = (10 * class_scores.amax(dim=1)).round() / 10, class_scores.argmax(dim=1)
    return LabeledBoxes(torch.cat([corners, corners + sides], dim=1), labels, space, scores, class_scores)


@pytest.mark.parametrize("most", [3, 100])
@pytest.mark.parametrize("side", [30.0, 3000.0, 2e6])  # so far out the IoU of moved boxes is not exact
def test_as_each_image_alone(side: float, most: int) -> None:
    random = torch.Generator().manual_seed(0)
    counts = [0, 1, 2, 30, 0, MOST_AT_ONCE + 50, *range(IMAGES_AT_ONCE), 0]
    found = [some_boxes(count, side, random) for count in counts]
    boxes, kept = keep_of_images(found, CITY, 0.5, most)
    wanted = [keep_pseudo_labels(one, 0.5, most) for one in found]
    assert kept == [len(one) for one in wanted]
    for name in ("boxes_xyxy", "labels", "scores", "class_scores"):
        assert torch.equal(getattr(boxes, name), torch.cat([getattr(one, name) for one in wanted])), name


def test_only_the_better_of_two_on_each_other_is_kept() -> None:
    corners = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9], [50, 50, 60, 60]])
    scores = torch.tensor([0.6, 0.7, 0.8, 0.5])
    found = LabeledBoxes(corners, torch.tensor([0, 0, 1, 0]), CITY, scores, torch.rand(4, 3))
    boxes, counts = keep_of_images([found, found[torch.tensor([3])]], CITY, 0.0, 100)
    assert counts == [3, 1]
    torch.testing.assert_close(boxes.scores, torch.tensor([0.8, 0.7, 0.5, 0.5]))


def test_no_images_and_no_detections() -> None:
    assert [len(each) for each in keep_of_images([], CITY, 0.5, 3)] == [0, 0]
    boxes, counts = keep_of_images([LabeledBoxes.empty(CITY)] * 2, CITY, 0.5, 3)
    assert (len(boxes), counts) == (0, [0, 0])
