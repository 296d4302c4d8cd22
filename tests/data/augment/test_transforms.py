from __future__ import annotations

from typing import Any

import pytest
import torch
from factories import label_space, labeled_boxes

from lat.core.errors import InputError
from lat.data.augment.augment_settings import AugmentationSettings
from lat.data.augment.transforms import augment

SPACE = label_space()
IMAGE = torch.rand(3, 6, 10, generator=torch.Generator().manual_seed(0))
BOXES = labeled_boxes(SPACE, [[1, 2, 4, 5], [0, 0, 10, 6]], [1, 0], [0.5, 1.0], weights=[0, 1], annotation_ids=[4, 5])


def run(seed: int = 0, image: torch.Tensor = IMAGE, boxes: Any = BOXES, **settings: Any) -> tuple[torch.Tensor, Any]:
    chosen = AugmentationSettings(**{"scale": [1.0, 1.0], **settings})
    return augment(image, boxes, chosen, torch.Generator().manual_seed(seed))


def test_nothing_to_do_changes_nothing() -> None:
    image, boxes = run(horizontal_flip=0, color_jitter=0)
    assert torch.equal(image, IMAGE)
    assert torch.equal(boxes.boxes_xyxy, BOXES.boxes_xyxy)


def test_a_flip_moves_pixels_and_boxes_together() -> None:
    image, boxes = run(horizontal_flip=1, color_jitter=0)
    assert torch.equal(image, IMAGE.flip(-1))
    assert boxes.boxes_xyxy.tolist() == [[6, 2, 9, 5], [0, 0, 10, 6]]  # x1' = 10 - x2, x2' = 10 - x1
    assert torch.equal(image[:, 2:5, 6:9], IMAGE[:, 2:5, 1:4].flip(-1))
    for name in ("labels", "scores", "weights", "annotation_ids"):
        assert torch.equal(getattr(boxes, name), getattr(BOXES, name))
    image, boxes = run(image=image, boxes=boxes, horizontal_flip=1, color_jitter=0)
    assert torch.equal(boxes.boxes_xyxy, BOXES.boxes_xyxy)


def test_colour_changes_stay_in_range_and_leave_boxes_alone() -> None:
    for seed in range(20):
        image, boxes = run(seed, horizontal_flip=0, color_jitter=1.0)
        assert not torch.equal(image, IMAGE)
        assert image.shape == IMAGE.shape
        assert image.dtype == torch.float32
        assert 0 <= float(image.min()) <= float(image.max()) <= 1
        assert torch.equal(boxes.boxes_xyxy, BOXES.boxes_xyxy)


def test_brightness_of_a_grey_image_scales_by_at_most_the_setting() -> None:
    # contrast and saturation leave a grey image of one value as it is, so what remains is the brightness factor
    grey = torch.full((3, 4, 4), 0.5)
    factors = [float(run(seed, image=grey, color_jitter=0.2)[0].mean()) / 0.5 for seed in range(60)]
    assert 0.8 <= min(factors) < 0.85
    assert 1.15 < max(factors) <= 1.2


def test_the_generator_alone_decides_and_advances_alike() -> None:
    assert torch.equal(run(3)[0], run(3)[0])
    assert len({float(run(seed)[0].sum()) for seed in range(5)}) == 5
    states = []
    for settings in (AugmentationSettings(), AugmentationSettings(0.0, 0.0, [1.0, 1.0])):
        generator = torch.Generator().manual_seed(1)
        augment(IMAGE, BOXES, settings, generator)
        states.append(generator.get_state())
    assert torch.equal(*states)


def test_about_half_of_the_images_are_flipped() -> None:
    flipped = sum(torch.equal(run(seed, color_jitter=0)[0], IMAGE.flip(-1)) for seed in range(200))
    assert 70 <= flipped <= 130  # standard deviation 7


def test_flip_and_colour_are_chosen_independently() -> None:
    grey = torch.full((3, 4, 4), 0.5)
    grey[:, :, :2] = 0.25
    results = [run(seed, image=grey, horizontal_flip=0.5, color_jitter=0.5)[0] for seed in range(60)]
    brighter_when_flipped = {bool(image.mean() > grey.mean()) for image in results if image[0, 0, 0] > image[0, 0, 3]}
    assert brighter_when_flipped == {True, False}


def test_no_boxes_are_legal() -> None:
    assert len(run(boxes=BOXES[:0], horizontal_flip=1)[1]) == 0


def test_scaled_images_keep_their_size_and_boxes_follow() -> None:
    image = torch.zeros(3, 40, 60)
    image[:, 12:28, 20:40] = 1.0
    boxes, widths = labeled_boxes(SPACE, [[20, 12, 40, 28]], [0], [1.0]), []
    for seed in range(60):
        scaled, moved = run(seed, image, boxes, horizontal_flip=0.5, color_jitter=0, scale=[0.5, 1.5])
        assert scaled.shape == image.shape
        ((x1, y1, x2, y2),) = moved.boxes_xyxy.round().int().tolist()
        assert scaled[:, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].min() > 0.99
        widths.append(x2 - x1)
    assert 10 <= min(widths) < 12  # 20 pixels times 0.5, and times 1.5 where the image's edge does not cut it
    assert 28 < max(widths) <= 30


def test_a_scaled_image_is_a_part_of_a_larger_one_or_lies_whole_on_its_canvas() -> None:
    image, whole = torch.rand(3, 40, 60), labeled_boxes(SPACE, [[0, 0, 60, 40]], [0], [1.0])
    _, boxes = run(0, image, whole, horizontal_flip=0, scale=[2.0, 2.0])
    assert (boxes.boxes_xyxy.tolist(), boxes.weights.tolist()) == ([[0, 0, 60, 40]], [0])  # a quarter of it is seen
    _, boxes = run(0, image, whole, scale=[0.5, 0.5])
    ((x1, y1, x2, y2),) = boxes.boxes_xyxy.tolist()
    assert (x2 - x1, y2 - y1) == (30, 20)
    assert 0 <= x1 < x2 <= 60
    assert 0 <= y1 < y2 <= 40


@pytest.mark.parametrize(
    "settings",
    [
        *({"horizontal_flip": 1.1}, {"color_jitter": -0.1}, {"color_jitter": float("nan")}),
        *({"scale": [0.0, 1.0]}, {"scale": [1.5, 1.0]}, {"scale": [1.0]}, {"scale": [1.0, float("nan")]}),
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"^{next(iter(settings))}"):
        AugmentationSettings(**settings)
