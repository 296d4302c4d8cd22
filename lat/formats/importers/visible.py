"""What is visible of polygons that are drawn one over the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, floor

from PIL import Image, ImageDraw

Polygon = Sequence[tuple[float, float]]
Corners = tuple[float, float, float, float]


def visible_boxes(polygons: Sequence[Polygon], chosen: Sequence[int], size: tuple[int, int]) -> Iterator[Corners | None]:
    """The boxes around what is visible of some polygons when all are drawn in order, later ones over earlier ones.

    Polygons are filled with whole pixels by Pillow, as the makers of Cityscapes fill theirs. Only the surroundings of a polygon
    and of those that touch it are drawn, so that an image costs little more than its objects.

    Args:
        polygons: of an image, points (x, y) in pixels; those of pixel (0, 0) alone is a point at (0, 0).
        chosen: the polygons whose boxes to give.
        size: width and height of the image.

    Yields:
        (x1, y1, x2, y2) for each of `chosen`, x2 and y2 behind the last pixel; None if no pixel of the polygon is visible.
    """
    frames = [_frame(polygon, size) for polygon in polygons]
    for i in chosen:
        frame = frames[i]
        if frame is None:
            yield None
            continue
        above = [polygons[j] for j in range(i + 1, len(polygons)) if _touch(frame, frames[j])]
        yield _drawn_box(polygons[i], above, frame)


def _frame(polygon: Polygon, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Whole pixels around a polygon, cut at the image: x1, y1, x2, y2; None for a polygon that is no area or lies outside."""
    if len(polygon) < 2:
        return None
    xs, ys = zip(*polygon, strict=True)
    x1, y1 = max(floor(min(xs)), 0), max(floor(min(ys)), 0)
    x2, y2 = min(ceil(max(xs)) + 1, size[0]), min(ceil(max(ys)) + 1, size[1])
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _touch(a: tuple[int, int, int, int], b: tuple[int, int, int, int] | None) -> bool:
    return b is not None and a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _drawn_box(polygon: Polygon, above: Sequence[Polygon], frame: tuple[int, int, int, int]) -> Corners | None:
    """The box of the pixels of `polygon` in `frame` that are left when others are drawn above it.

    The canvas begins where no coordinate becomes negative that was not so before: Pillow rounds those the other way.
    """
    xs, ys = zip(*(point for points in (polygon, *above) for point in points), strict=True)
    left, top = max(floor(min(xs)), 0), max(floor(min(ys)), 0)
    canvas = Image.new("L", (frame[2] - left, frame[3] - top))
    draw = ImageDraw.Draw(canvas)
    for points, value in ((polygon, 1), *((points, 0) for points in above)):
        draw.polygon([(x - left, y - top) for x, y in points], fill=value)
    box = canvas.getbbox()
    return None if box is None else (box[0] + left, box[1] + top, box[2] + left, box[3] + top)
