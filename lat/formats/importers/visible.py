"""The visible parts of polygons that are drawn over one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, floor

from PIL import Image, ImageDraw

Polygon = Sequence[tuple[float, float]]
Corners = tuple[float, float, float, float]


def visible_boxes(polygons: Sequence[Polygon], chosen: Sequence[int], size: tuple[int, int]) -> Iterator[Corners | None]:
    """The boxes around the visible parts of some polygons when all are drawn in order, later ones over earlier ones.

    Pillow fills polygons with whole pixels, as the tools of Cityscapes do. Only the surroundings of a polygon and of those that
    touch it are drawn, so that the cost of an image depends on its objects rather than its size.

    Args:
        polygons: of an image, as points (x, y) in pixels; (0, 0) is the first pixel.
        chosen: the polygons whose boxes to give.
        size: width and height of the image.

    Yields:
        (x1, y1, x2, y2) for each of `chosen`, x2 and y2 one past the last pixel; None if no pixel of the polygon is visible.
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
    """Whole pixels around a polygon, clipped to the image: x1, y1, x2, y2; None if it has no area or lies outside."""
    if len(polygon) < 2:
        return None
    xs, ys = zip(*polygon, strict=True)
    x1, y1 = max(floor(min(xs)), 0), max(floor(min(ys)), 0)
    x2, y2 = min(ceil(max(xs)) + 1, size[0]), min(ceil(max(ys)) + 1, size[1])
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _touch(a: tuple[int, int, int, int], b: tuple[int, int, int, int] | None) -> bool:
    return b is not None and a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _drawn_box(polygon: Polygon, above: Sequence[Polygon], frame: tuple[int, int, int, int]) -> Corners | None:
    """The box of the pixels of `polygon` in `frame` that remain visible when others are drawn above it.

    The canvas starts where no coordinate turns negative that was not negative before: Pillow rounds those the other way.
    """
    xs, ys = zip(*(point for points in (polygon, *above) for point in points), strict=True)
    left, top = max(floor(min(xs)), 0), max(floor(min(ys)), 0)
    canvas = Image.new("L", (frame[2] - left, frame[3] - top))
    draw = ImageDraw.Draw(canvas)
    for points, value in ((polygon, 1), *((points, 0) for points in above)):
        draw.polygon([(x - left, y - top) for x, y in points], fill=value)
    box = canvas.getbbox()
    return None if box is None else (box[0] + left, box[1] + top, box[2] + left, box[3] + top)
