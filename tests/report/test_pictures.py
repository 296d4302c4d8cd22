"""Panels: where images, boxes and tags lie, and what is embedded."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest
import torch

from lat.report.pictures import PANEL_SIDE, Frame, Rectangle, embed_image, place_tags, shorten


def decode(uri: str) -> np.ndarray:
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB)


@pytest.mark.parametrize(
    ("size_hw", "expected_hw"),
    [((40, 60), (40, 60)), ((100, 200), (32, 64)), ((200, 100), (64, 32)), ((1, 640), (1, 64))],
)
def test_only_large_images_are_scaled(size_hw: tuple[int, int], expected_hw: tuple[int, int]) -> None:
    assert decode(embed_image(torch.zeros(3, *size_hw), 64)).shape == (*expected_hw, 3)


def test_colours_survive() -> None:
    image = torch.tensor([0.8, 0.4, 0.1])[:, None, None].expand(3, 16, 16)
    assert np.abs(decode(embed_image(image, 64)).mean((0, 1)) - [204, 102, 26]).max() < 3


def test_wide_and_tall_images_fit_the_panel() -> None:
    # 200 x 100 pixels (width x height) fill 400 x 200 units; 50 x 100 pixels fill 200 x 400 in the middle.
    assert Frame((100, 200)).image == Rectangle(0, 0, 400, 200)
    assert Frame((100, 50)).image == Rectangle(100, 0, 200, 400)
    assert Frame((100, 50)).place([10, 20, 30, 60]) == Rectangle(140, 80, 80, 160)


def test_tags_stay_apart_and_inside() -> None:
    boxes = [Rectangle(380, 2, 18, 30), Rectangle(380, 60, 18, 30), Rectangle(0, 190, 40, 9), Rectangle(384, 4, 14, 30)]
    tags = place_tags(boxes, [(f"{i} motorcycle", str(i)) for i in range(4)], Frame((100, 200)))
    for i, tag in enumerate(tags):
        assert min(tag.area.x, tag.area.y) >= 0
        assert tag.area.x + tag.area.width <= PANEL_SIDE
        assert tag.area.y + tag.area.height <= 200
        assert not any(tag.area.overlaps(other.area) for other in tags[:i])


def test_a_tag_without_room_for_its_name_shows_its_number() -> None:
    # All in one place: two tags beside each other above or below and one inside each edge find room, later ones only as numbers.
    tags = place_tags([Rectangle(100, 100, 60, 15)] * 9, [("1 motorcycle", "1")] * 9, Frame((100, 200)))
    assert tags[0].text == "1 motorcycle"
    assert tags[-1].text == "1"


def test_tags_fit_even_an_image_lower_than_they_are() -> None:
    tag = place_tags([Rectangle(0, 0, 400, 8)], [("1 car", "1")], Frame((2, 100)))[0]
    assert tag.area.y == 0


def test_shorten() -> None:
    assert shorten("pedestrian", 10) == "pedestrian"
    assert shorten("pedestrians", 10) == "pedestria…"
