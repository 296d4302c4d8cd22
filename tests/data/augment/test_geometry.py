"""Images moved with their boxes: numbers worked out by hand, and pixels and boxes that stay together."""

from __future__ import annotations

import pytest
import torch
from factories import label_space, labeled_boxes

from lat.core.structures import LabeledBoxes
from lat.data.augment.geometry import CANVAS, CENTRE, VISIBLE, Placement, mosaic

SPACE = label_space()


def drawn(boxes: list[list[float]], size_hw: tuple[int, int] = (40, 60), value: float = 1.0) -> tuple[torch.Tensor, LabeledBoxes]:
    """A black image with a rectangle of one value where each box is."""
    image = torch.zeros(3, *size_hw)
    for x1, y1, x2, y2 in boxes:
        image[:, int(y1) : int(y2), int(x1) : int(x2)] = value
    return image, labeled_boxes(SPACE, boxes, [i % 2 for i in range(len(boxes))], annotation_ids=range(5, 5 + len(boxes)))


def test_an_image_on_a_canvas_by_hand() -> None:
    image, boxes = Placement(0.5, (5, -3), (30, 40)).of_sample(drawn([[10, 20, 30, 40], [40, 0, 60, 20]]))
    assert image.shape == (3, 30, 40)
    # 30 x 20 pixels at (5, -3): x' = 5 + x / 2, y' = y / 2 - 3, and the second box is cut at the upper edge
    assert boxes.boxes_xyxy.tolist() == [[10, 7, 20, 17], [25, 0, 35, 7]]
    assert boxes.weights.tolist() == [1, 1]
    assert image[:, 8:16, 11:19].min() == 1
    assert (image[:, :, :5] == CANVAS).all()
    assert (image[:, 17:] == CANVAS).all()


def test_boxes_outside_are_left_out_and_cut_ones_are_dont_care() -> None:
    _, boxes = Placement(1.0, (-25, 0), (40, 34)).of_sample(drawn([[0, 0, 10, 10], [20, 0, 30, 10], [21, 20, 31, 30]]))
    # of the second 5 of 10 columns are left, of the third 6
    assert VISIBLE == 0.4
    assert boxes.annotation_ids.tolist() == [6, 7]
    assert boxes.boxes_xyxy.tolist() == [[0, 0, 5, 10], [0, 20, 6, 30]]
    assert boxes.weights.tolist() == [1, 1]
    _, boxes = Placement(1.0, (-27, 0), (40, 34)).of_sample(drawn([[20, 0, 30, 10]]))
    assert (boxes.boxes_xyxy.tolist(), boxes.weights.tolist()) == ([[0, 0, 3, 10]], [0])


@pytest.mark.parametrize(("low", "high"), [(0.4, 0.6), (1.5, 2.5), (1.0, 1.0)])
def test_boxes_follow_the_pixels_of_a_rescaled_image(low: float, high: float) -> None:
    sizes = set()
    for seed in range(12):
        chance = torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist()
        scale = low + (high - low) * chance[0]
        image, boxes = Placement.within((40, 60), scale, (chance[1], chance[2])).of_sample(drawn([[24, 12, 40, 28]]))
        assert image.shape == (3, 40, 60)
        for x1, y1, x2, y2 in boxes.boxes_xyxy.round().int().tolist():
            sizes.add(x2 - x1)
            if x2 - x1 > 4 < y2 - y1:
                assert image[:, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].min() > 0.99
        assert (image == 1).any() == bool(len(boxes)) or not boxes.weights.any()
    if low != high:
        assert all(size <= 16 * high + 1 for size in sizes)
        assert len(sizes) > 3
    else:
        assert sizes == {16}


def test_a_mosaic_of_equal_images_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lat.data.augment.geometry.CENTRE", (0.5, 0.5))
    four = [drawn([[20, 10, 40, 30]], value=value) for value in (0.2, 0.4, 0.6, 0.8)]
    image, boxes = mosaic(four, torch.Generator().manual_seed(0))
    # every quarter is half as wide and high as an image: each box is halved and moved into its quarter
    assert boxes.boxes_xyxy.tolist() == [[10, 5, 20, 15], [40, 5, 50, 15], [10, 25, 20, 35], [40, 25, 50, 35]]
    for value, (x1, y1, x2, y2) in zip((0.2, 0.4, 0.6, 0.8), boxes.boxes_xyxy.int().tolist(), strict=True):
        torch.testing.assert_close(image[:, y1 + 1 : y2 - 1, x1 + 1 : x2 - 1], torch.full((3, 8, 8), value))


def test_a_quarter_shows_what_lies_next_to_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lat.data.augment.geometry.CENTRE", (0.3, 0.3))
    four = [drawn([[0, 0, 60, 40]]) for _ in range(4)]
    four[0] = drawn([[30, 20, 60, 40], [0, 0, 10, 10]])
    _, boxes = mosaic(four, torch.Generator().manual_seed(0))
    # 18 x 12 pixels show the whole of the first image at 0.3; 42 x 12 the lower 12 of 28 rows of the second at 0.7
    torch.testing.assert_close(boxes.boxes_xyxy[:2], torch.tensor([[9.0, 6, 18, 12], [0, 0, 3, 3]]))
    assert boxes.boxes_xyxy[2].tolist() == [18, 0, 60, 12]
    assert boxes.weights[2] == 1  # 12 of 28 rows are 0.43
    assert boxes.boxes_xyxy[3:].tolist() == [[0, 12, 18, 40], [18, 12, 60, 40]]


def test_of_a_wide_image_at_the_left_the_right_end_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lat.data.augment.geometry.CENTRE", (0.3, 0.3))
    four = [drawn([]) for _ in range(4)]
    four[2] = drawn([[0, 0, 20, 40], [180, 0, 200, 40]], (40, 200))
    _, boxes = mosaic(four, torch.Generator().manual_seed(0))
    # 28 rows of 40 are a scale of 0.7, so 140 columns, the last 18 of which are seen
    assert boxes.boxes_xyxy.tolist() == [[4, 12, 18, 40]]
    four[2], four[3] = drawn([]), four[2]
    _, boxes = mosaic(four, torch.Generator().manual_seed(0))
    assert boxes.boxes_xyxy.tolist() == [[18, 12, 32, 40]]  # of one at the right the left end


def test_images_of_any_size_and_without_boxes_make_a_mosaic() -> None:
    four = [drawn([[2, 2, 9, 9]], (h, w)) for h, w in ((30, 50), (90, 20), (11, 13))] + [drawn([], (40, 40))]
    four[3] = (four[3][0], labeled_boxes(SPACE, []))
    for seed in range(20):
        image, boxes = mosaic(four, torch.Generator().manual_seed(seed))
        assert image.shape == (3, 30, 50)
        assert (boxes.boxes_xyxy[:, 2:] <= torch.tensor([50, 30])).all()
        assert CENTRE == (0.3, 0.7)
    assert not len(mosaic([four[3]] * 4, torch.Generator())[1])
