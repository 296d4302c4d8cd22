"""Visible boxes of polygons, against drawing the whole image."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from lat.formats.importers.visible import visible_boxes

SIZE = (60, 40)


def drawn_boxes(polygons: list[list[tuple[int, int]]]) -> list[tuple[int, int, int, int] | None]:
    """The slow way: every polygon with its own value on one canvas, and the extent of each value."""
    canvas = Image.new("I", SIZE)
    for value, polygon in enumerate(polygons, start=1):
        ImageDraw.Draw(canvas).polygon(polygon, fill=value)
    pixels = np.asarray(canvas)
    found = []
    for value in range(1, len(polygons) + 1):
        ys, xs = np.nonzero(pixels == value)
        found.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else None)
    return found


def test_boxes_are_those_of_the_drawn_image() -> None:
    generator = np.random.default_rng(0)
    seen = 0
    for _ in range(200):
        polygons = []
        for _ in range(generator.integers(1, 8)):
            center, reach = generator.integers(-5, 65, 2), generator.integers(2, 20)
            points = center + generator.integers(-reach, reach + 1, (generator.integers(3, 9), 2))
            polygons.append([tuple(point) for point in points.tolist()])
        wanted = drawn_boxes(polygons)
        assert list(visible_boxes(polygons, range(len(polygons)), SIZE)) == wanted
        seen += sum(box is not None for box in wanted)
    assert seen > 300


def test_by_hand() -> None:
    car = [(10, 10), (19, 10), (19, 14), (10, 14)]  # pixels 10 to 19 by 10 to 14
    pole = [(8, 0), (12, 0), (12, 39), (8, 39)]  # hides pixels up to 12
    assert list(visible_boxes([car, pole], [0], SIZE)) == [(13, 10, 20, 15)]
    assert list(visible_boxes([pole, car], [1], SIZE)) == [(10, 10, 20, 15)]
    assert list(visible_boxes([car, car], [0, 1], SIZE)) == [None, (10, 10, 20, 15)]
    outside = [(70, 5), (80, 5), (80, 9)]
    assert list(visible_boxes([outside, [(1, 1)]], [0, 1], SIZE)) == [None, None]
