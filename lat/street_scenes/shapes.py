"""What road users look like: coloured polygons in metres, seen from the side and facing right.

The ground is y = 0 and the middle of the road user x = 0; sizes are those of `scene.OUTLINE_METRES`.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np

from lat.street_scenes.canvas import Color, Patch
from lat.street_scenes.scene import Kind

TYRE: Color = (24, 24, 27)
HUB: Color = (150, 150, 155)
GLASS: Color = (64, 86, 104)
LAMP: Color = (250, 236, 160)
STEEL: Color = (110, 112, 118)
SKIN_TONES: tuple[Color, ...] = ((236, 196, 164), (214, 160, 122), (150, 102, 72), (96, 64, 46))
HAIR_TONES: tuple[Color, ...] = ((40, 28, 20), (96, 62, 30), (200, 168, 96), (150, 150, 150))
TROUSER_TONES: tuple[Color, ...] = ((40, 48, 84), (52, 50, 48), (98, 78, 56), (32, 34, 38))
Points = Sequence[tuple[float, float]]


def body_patches(kind: Kind, looks_alike: bool, rng: np.random.Generator) -> list[Patch]:
    """A vehicle without its rider, or a person on foot, in random colours; `looks_alike` chooses the look of two kinds.

    A truck and a bus that look alike are drawn identically, as are a bicycle and a motorcycle; an adult and a child nearly so.
    """
    if kind is Kind.ADULT:
        return _person(1.5, 0.165, rng) if looks_alike else _person(1.75, 0.17, rng)
    if kind is Kind.CHILD:
        return _person(1.4, 0.165, rng) if looks_alike else _child(rng)
    if kind is Kind.CAR:
        return _car(rng)
    if kind in (Kind.TRUCK, Kind.BUS):
        return _coach(rng) if looks_alike else _truck(rng) if kind is Kind.TRUCK else _bus(rng)
    return _moped(rng) if looks_alike else _motorcycle(rng) if kind is Kind.MOTORCYCLE else _bicycle(rng)


def rider_patches(kind: Kind, looks_alike: bool, rng: np.random.Generator) -> list[Patch]:
    """The person on a bicycle (upright) or motorcycle (low, with a helmet); in between on a look-alike."""
    shirt, trousers, skin = _bright(rng), _pick(TROUSER_TONES, rng), _pick(SKIN_TONES, rng)
    helmet = kind is Kind.MOTORCYCLE and not looks_alike
    saddle = 0.78 if helmet else 0.98
    shoulder = (0.0, saddle + 0.5)
    hip, hand = (-0.28, saddle), (0.4, saddle + 0.12)
    knee, foot = (0.12, saddle - 0.2), (0.0, saddle - 0.58)
    head = (shoulder[0] + 0.08, shoulder[1] + 0.16)
    head_patches = (
        [_disc(head, 0.2, _bright(rng)), _box(head[0] + 0.03, head[1] - 0.06, head[0] + 0.2, head[1] + 0.06, GLASS)]
        if helmet
        else [_disc(head, 0.165, skin), _half_disc(head, 0.175, _pick(HAIR_TONES, rng))]
    )
    return [
        _bar(hip, knee, 0.2, trousers),
        _bar(knee, foot, 0.15, trousers),
        _bar(hip, shoulder, 0.32, shirt),
        *head_patches,
        _bar(shoulder, hand, 0.13, shirt),
        _disc(hand, 0.07, skin),
    ]


def post_patches(rng: np.random.Generator) -> list[Patch]:
    """A lamp post, or a bush."""
    if rng.random() < 0.6:
        return [_box(-0.07, 0.0, 0.07, 3.6, STEEL), _box(-0.07, 3.5, 0.7, 3.6, STEEL), _box(0.45, 3.38, 0.75, 3.52, LAMP)]
    green = (int(rng.integers(30, 70)), int(rng.integers(80, 120)), int(rng.integers(30, 60)))
    return [_disc((x, 0.3), 0.32 + 0.06 * rng.random(), _shade(green, 0.8 + 0.4 * rng.random())) for x in (-0.35, 0.35, 0.0)]


def _car(rng: np.random.Generator) -> list[Patch]:
    paint = _bright(rng)
    rear, front = rng.uniform(-1.05, -0.7), rng.uniform(0.3, 0.55)
    roof_rear = rear + rng.uniform(0.1, 0.3)
    cabin = [(rear, 0.68), (roof_rear, 1.2), (front - 0.3, 1.2), (front + 0.1, 0.68)]
    glass = [(rear + 0.13, 0.7), (roof_rear + 0.06, 1.1), (front - 0.33, 1.1), (front - 0.03, 0.7)]
    pillar = (roof_rear + front) / 2 - 0.1
    return [
        _polygon(cabin, paint),
        _polygon(glass, GLASS),
        _box(pillar, 0.7, pillar + 0.08, 1.12, paint),
        _polygon([(-1.25, 0.22), (-1.25, 0.62), (-1.1, 0.74), (0.6, 0.74), (1.15, 0.62), (1.25, 0.5), (1.25, 0.22)], paint),
        _box(-1.25, 0.22, 1.25, 0.32, _shade(paint, 0.6)),
        _box(1.12, 0.46, 1.25, 0.58, LAMP),
        _box(-1.25, 0.48, -1.15, 0.62, (190, 30, 30)),
        *_wheels((-0.78, 0.76), 0.27),
    ]


def _truck(rng: np.random.Generator) -> list[Patch]:
    cab, box = _bright(rng), _pale(rng)
    ribs = [_box(x, 0.55, x + 0.05, 1.84, _shade(box, 0.82)) for x in (-1.1, -0.7, -0.3, 0.1)]
    return [
        _box(-1.45, 0.3, 1.4, 0.48, (48, 48, 52)),
        _box(-1.5, 0.46, 0.62, 1.9, box),
        *ribs,
        _box(-1.5, 0.46, 0.62, 0.56, _shade(box, 0.6)),
        _polygon([(0.74, 0.3), (0.74, 1.42), (1.2, 1.42), (1.42, 0.92), (1.5, 0.86), (1.5, 0.3)], cab),
        _polygon([(0.92, 0.9), (0.92, 1.3), (1.14, 1.3), (1.32, 0.9)], GLASS),
        _box(1.38, 0.45, 1.5, 0.58, LAMP),
        *_wheels((-1.08, -0.46, 1.08), 0.3),
    ]


def _bus(rng: np.random.Generator) -> list[Patch]:
    paint = _bright(rng)
    windows = [_box(x, 0.92, x + 0.36, 1.42, GLASS) for x in np.arange(-1.44, 0.7, 0.46)]
    return [
        _polygon([(-1.55, 0.25), (-1.55, 1.62), (-1.47, 1.7), (1.4, 1.7), (1.55, 1.5), (1.55, 0.25)], paint),
        _box(-1.55, 0.62, 1.55, 0.76, (240, 240, 236)),
        *windows,
        _box(0.88, 0.32, 1.16, 1.42, _shade(GLASS, 1.3)),
        _polygon([(1.27, 0.85), (1.27, 1.5), (1.47, 1.5), (1.55, 1.4), (1.55, 0.85)], GLASS),
        _box(1.43, 0.4, 1.55, 0.52, LAMP),
        *_wheels((-0.95, 0.62), 0.29),
    ]


def _coach(rng: np.random.Generator) -> list[Patch]:
    """The look that trucks and buses share: a long body with one dark band and a windscreen."""
    paint = _pale(rng) if rng.random() < 0.5 else _bright(rng)
    return [
        _polygon([(-1.6, 0.28), (-1.6, 1.8), (1.45, 1.8), (1.6, 1.5), (1.6, 0.28)], paint),
        _box(-1.5, 1.05, 0.8, 1.32, _shade(paint, 0.62)),
        _box(0.88, 0.35, 0.94, 1.8, _shade(paint, 0.7)),
        _polygon([(1.15, 0.9), (1.15, 1.5), (1.5, 1.5), (1.6, 1.4), (1.6, 0.9)], GLASS),
        _box(1.48, 0.42, 1.6, 0.54, LAMP),
        *_wheels((-1.0, 0.95), 0.29),
    ]


def _motorcycle(rng: np.random.Generator) -> list[Patch]:
    paint = _bright(rng)
    return [
        *_wheels((-0.55, 0.55), 0.31),
        _bar((0.55, 0.31), (0.36, 0.95), 0.1, STEEL),
        _polygon([(-0.5, 0.32), (-0.45, 0.62), (0.3, 0.62), (0.36, 0.32), (0.15, 0.2), (-0.25, 0.2)], (70, 70, 76)),
        _polygon([(-0.85, 0.62), (-0.85, 0.74), (-0.1, 0.72), (-0.1, 0.56), (-0.4, 0.52)], (36, 32, 32)),
        _polygon([(-0.15, 0.55), (-0.05, 0.88), (0.3, 0.9), (0.5, 0.6), (0.2, 0.48)], paint),
        _polygon([(0.3, 0.62), (0.36, 1.05), (0.6, 0.86), (0.55, 0.62)], paint),
        _box(0.5, 0.7, 0.66, 0.84, LAMP),
        _bar((-0.2, 0.24), (-0.85, 0.3), 0.1, HUB),
    ]


def _bicycle(rng: np.random.Generator) -> list[Patch]:
    paint = _bright(rng)
    rear, front, pedals, seat, head = (-0.45, 0.35), (0.45, 0.35), (-0.05, 0.33), (-0.22, 0.85), (0.32, 0.82)
    tubes = ((rear, pedals), (rear, seat), (pedals, seat), (seat, head), (pedals, head), (head, front))
    return [
        _ring(rear, 0.35, 0.07, TYRE),
        _ring(front, 0.35, 0.07, TYRE),
        *(_bar(start, end, 0.08, paint) for start, end in tubes),
        _bar(seat, (-0.24, 0.95), 0.07, STEEL),
        _box(-0.4, 0.93, -0.1, 1.0, (36, 32, 32)),
        _bar(head, (0.3, 1.0), 0.07, STEEL),
        _bar((0.26, 1.0), (0.46, 1.02), 0.08, (36, 32, 32)),
    ]


def _moped(rng: np.random.Generator) -> list[Patch]:
    """The look that bicycles and motorcycles share: medium wheels and one bent frame."""
    paint = _bright(rng)
    return [
        *(_ring((x, 0.33), 0.33, 0.11, TYRE) for x in (-0.5, 0.5)),
        _bar((0.5, 0.33), (0.34, 1.0), 0.1, STEEL),
        _bar((-0.5, 0.33), (-0.1, 0.4), 0.12, paint),
        _bar((-0.1, 0.4), (0.36, 0.72), 0.14, paint),
        _bar((-0.1, 0.4), (-0.28, 0.88), 0.12, paint),
        _box(-0.48, 0.86, -0.08, 0.96, (36, 32, 32)),
        _bar((0.26, 1.0), (0.48, 1.0), 0.09, (36, 32, 32)),
    ]


def _person(height: float, head_radius: float, rng: np.random.Generator) -> list[Patch]:
    shirt, trousers, skin = _bright(rng), _pick(TROUSER_TONES, rng), _pick(SKIN_TONES, rng)
    stride, swing = rng.uniform(0.1, 0.28), rng.uniform(0.16, 0.3)
    head_y, neck, hip = height - head_radius, height - 2 * head_radius, 0.46 * height
    torso = [(-0.2, hip - 0.06), (-0.26, neck), (0.26, neck), (0.2, hip - 0.06)]
    return [
        _bar((-0.1, hip), (-stride, 0.06), 0.2, _shade(trousers, 0.85)),
        _bar((0.1, hip), (stride, 0.06), 0.2, trousers),
        _box(-stride - 0.08, 0.0, -stride + 0.13, 0.08, TYRE),
        _box(stride - 0.08, 0.0, stride + 0.13, 0.08, TYRE),
        _bar((-0.2, neck - 0.08), (-swing - 0.1, hip), 0.15, _shade(shirt, 0.8)),
        _polygon(torso, shirt),
        _bar((0.2, neck - 0.08), (swing + 0.1, hip), 0.15, _shade(shirt, 0.9)),
        _disc((0.02, head_y), head_radius, skin),
        _half_disc((0.02, head_y), head_radius + 0.01, _pick(HAIR_TONES, rng)),
    ]


def _child(rng: np.random.Generator) -> list[Patch]:
    """Short, with a big head, bare legs and a satchel."""
    shirt, skin = _bright(rng), _pick(SKIN_TONES, rng)
    stride = rng.uniform(0.06, 0.16)
    return [
        _bar((-0.07, 0.38), (-stride, 0.04), 0.13, skin),
        _bar((0.07, 0.38), (stride, 0.04), 0.13, skin),
        _box(-0.36, 0.36, -0.12, 0.72, _bright(rng)),
        _polygon([(-0.24, 0.28), (-0.16, 0.74), (0.16, 0.74), (0.24, 0.28)], shirt),
        _bar((0.12, 0.68), (0.32, 0.46), 0.11, skin),
        _disc((0.03, 0.91), 0.235, skin),
        _half_disc((0.03, 0.91), 0.245, _pick(HAIR_TONES, rng)),
    ]


def _polygon(points: Points, color: Color) -> Patch:
    return Patch((np.array(points, dtype=np.float64),), color)


def _box(x1: float, y1: float, x2: float, y2: float, color: Color) -> Patch:
    return _polygon([(x1, y1), (x1, y2), (x2, y2), (x2, y1)], color)


def _bar(start: tuple[float, float], end: tuple[float, float], thickness: float, color: Color) -> Patch:
    a, b = np.array(start), np.array(end)
    along = (b - a) / np.hypot(*(b - a))
    side = np.array([-along[1], along[0]]) * thickness / 2
    return Patch((np.stack([a + side, b + side, b - side, a - side]),), color)


def _arc(center: tuple[float, float], radius: float, start: float = 0.0, stop: float = 2 * np.pi) -> np.ndarray:
    angles = np.linspace(start, stop, 18)
    return np.stack([center[0] + radius * np.cos(angles), center[1] + radius * np.sin(angles)], axis=1)


def _disc(center: tuple[float, float], radius: float, color: Color) -> Patch:
    return Patch((_arc(center, radius),), color)


def _half_disc(center: tuple[float, float], radius: float, color: Color) -> Patch:
    """The upper back half of a disc: hair on a head that faces right."""
    return Patch((_arc(center, radius, 0.25 * np.pi, 1.15 * np.pi),), color)


def _ring(center: tuple[float, float], radius: float, thickness: float, color: Color) -> Patch:
    return Patch((_arc(center, radius), _arc(center, radius - thickness)), color)


def _wheels(xs: Sequence[float], radius: float) -> list[Patch]:
    return [wheel for x in xs for wheel in (_disc((x, radius), radius, TYRE), _disc((x, radius), radius * 0.42, HUB))]


def _pick(colors: Sequence[Color], rng: np.random.Generator) -> Color:
    return colors[int(rng.integers(len(colors)))]


def _hsv(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _bright(rng: np.random.Generator) -> Color:
    return _hsv(rng.random(), rng.uniform(0.55, 0.95), rng.uniform(0.55, 0.95))


def _pale(rng: np.random.Generator) -> Color:
    return _hsv(rng.random(), rng.uniform(0.02, 0.25), rng.uniform(0.75, 0.95))


def _shade(color: Color, factor: float) -> Color:
    red, green, blue = (min(255, round(channel * factor)) for channel in color)
    return red, green, blue
