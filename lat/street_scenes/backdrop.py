"""The street behind the road users, and the mildly different looks of the datasets."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lat.street_scenes.canvas import Color
from lat.street_scenes.scene import IMAGE_SIZE_HW, Difficulty

HORIZON = round(0.42 * IMAGE_SIZE_HW[0])
ROAD_TOP = round(0.52 * IMAGE_SIZE_HW[0])


@dataclass(frozen=True)
class Look:
    """How the pictures of one dataset look. Colours are RGB; differences between looks are kept mild on purpose.

    A detector trained on one look must still work on another: a large shift makes pseudo-labels useless.
    """

    sky_top: Color
    sky_bottom: Color
    walls: tuple[Color, ...]
    pavement: Color
    road: Color
    tint: tuple[float, float, float]  # factor on each channel
    contrast: float  # factor around middle grey
    brightness: float  # added, of 255
    noise: float  # standard deviation of the sensor noise, of 255
    blur: float  # standard deviation of the blur in pixels


LOOKS: dict[str, Look] = {
    "city": Look(
        sky_top=(150, 176, 204), sky_bottom=(208, 216, 220), walls=((148, 118, 98), (170, 156, 136), (122, 112, 108)),
        pavement=(150, 146, 140), road=(92, 92, 96), tint=(1.0, 1.0, 1.0), contrast=1.0,
        brightness=0.0, noise=4.0, blur=0.45,
    ),
    "nu": Look(
        sky_top=(136, 170, 208), sky_bottom=(212, 218, 214), walls=((168, 162, 146), (130, 138, 148), (156, 128, 110)),
        pavement=(156, 150, 138), road=(98, 96, 94), tint=(1.02, 1.0, 0.98), contrast=0.97,
        brightness=3.0, noise=4.5, blur=0.5,
    ),
    "way": Look(
        sky_top=(130, 150, 178), sky_bottom=(190, 200, 214), walls=((120, 122, 132), (160, 146, 142), (138, 126, 100)),
        pavement=(138, 138, 140), road=(84, 86, 92), tint=(0.98, 1.0, 1.02), contrast=1.03,
        brightness=-3.0, noise=4.5, blur=0.55,
    ),
    "bdd": Look(
        sky_top=(158, 168, 190), sky_bottom=(216, 208, 198), walls=((140, 126, 116), (152, 146, 152), (132, 132, 120)),
        pavement=(146, 142, 134), road=(88, 90, 90), tint=(1.01, 1.01, 0.98), contrast=1.02,
        brightness=2.0, noise=5.0, blur=0.5,
    ),
}  # fmt: skip


def draw_backdrop(rng: np.random.Generator, look: Look) -> np.ndarray:
    """An empty street: sky, a row of buildings, trees and signs, pavement, a marked road. (H, W, 3) uint8 RGB."""
    height, width = IMAGE_SIZE_HW
    image = np.empty((height, width, 3), dtype=np.uint8)
    fade = np.linspace(0.0, 1.0, HORIZON)[:, None, None]
    image[:HORIZON] = np.array(look.sky_top) * (1 - fade) + np.array(look.sky_bottom) * fade
    _draw_buildings(image, rng, look)
    image[HORIZON:ROAD_TOP] = look.pavement
    image[ROAD_TOP:] = look.road
    image[ROAD_TOP : ROAD_TOP + 2] = np.array(look.pavement) * 0.75
    _draw_lane_marks(image, rng)
    for _ in range(int(rng.integers(1, 4))):
        _draw_tree(image, rng)
    for _ in range(int(rng.integers(1, 4))):
        _draw_sign(image, rng)
    return _add_texture(image, rng)


def develop(image: np.ndarray, look: Look, difficulty: Difficulty, rng: np.random.Generator) -> np.ndarray:
    """The picture that the dataset's camera takes of a painted scene: (H, W, 3) uint8 RGB; nothing moves."""
    contrast, brightness = look.contrast * rng.uniform(0.92, 1.08), look.brightness + rng.uniform(-8.0, 8.0)
    picture = (image.astype(np.float32) - 128.0) * contrast + 128.0 + brightness
    picture *= np.array(look.tint, dtype=np.float32)
    blurred = cv2.GaussianBlur(picture, (0, 0), look.blur * difficulty.blur)
    noise = rng.standard_normal(picture.shape, dtype=np.float32) * (look.noise * difficulty.noise)
    return np.clip(np.round(blurred + noise), 0, 255).astype(np.uint8)


def _draw_buildings(image: np.ndarray, rng: np.random.Generator, look: Look) -> None:
    x = -int(rng.integers(0, 15))
    while x < image.shape[1]:
        width, top = int(rng.integers(22, 50)), int(rng.integers(4, HORIZON - 16))
        wall = np.array(look.walls[int(rng.integers(len(look.walls)))]) * rng.uniform(0.8, 1.1)
        image[top:HORIZON, max(0, x) : x + width] = np.clip(wall, 0, 255)
        step_x, step_y = int(rng.integers(6, 10)), int(rng.integers(8, 12))
        pane = wall * (0.6 if rng.random() < 0.7 else 1.2)
        for y in range(top + 3, HORIZON - 4, step_y):
            for left in range(x + 3, x + width - 4, step_x):
                if left >= 0:
                    image[y : y + step_y - 5, left : left + step_x - 3] = np.clip(pane, 0, 255)
        x += width + int(rng.integers(0, 8))


def _draw_lane_marks(image: np.ndarray, rng: np.random.Generator) -> None:
    y = int(rng.integers(ROAD_TOP + 14, image.shape[0] - 16))
    length, gap = int(rng.integers(10, 18)), int(rng.integers(12, 20))
    for x in range(-int(rng.integers(0, length)), image.shape[1], length + gap):
        image[y : y + 2, max(0, x) : x + length] = (206, 204, 196)


def _draw_tree(image: np.ndarray, rng: np.random.Generator) -> None:
    x, foot, tall = int(rng.integers(image.shape[1])), int(rng.integers(HORIZON, ROAD_TOP)), int(rng.integers(24, 44))
    cv2.rectangle(image, (x - 1, foot - tall), (x + 1, foot), (86, 64, 46), -1)
    for _ in range(7):
        center = (x + int(rng.integers(-8, 9)), foot - tall + int(rng.integers(-8, 7)))
        green = (int(rng.integers(40, 80)), int(rng.integers(90, 130)), int(rng.integers(40, 70)))
        cv2.circle(image, center, int(rng.integers(4, 9)), green, -1)


def _draw_sign(image: np.ndarray, rng: np.random.Generator) -> None:
    x, foot, tall = int(rng.integers(image.shape[1])), int(rng.integers(HORIZON + 2, ROAD_TOP)), int(rng.integers(18, 34))
    cv2.line(image, (x, foot), (x, foot - tall), (104, 106, 110), 1)
    color = ((190, 40, 40), (40, 80, 170), (220, 190, 50))[int(rng.integers(3))]
    if rng.random() < 0.5:
        cv2.circle(image, (x, foot - tall), 4, color, -1)
        cv2.circle(image, (x, foot - tall), 2, (232, 232, 228), -1)
    else:
        cv2.rectangle(image, (x - 4, foot - tall - 3), (x + 4, foot - tall + 3), color, -1)


def _add_texture(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fine and coarse stains, a few and a few tens of pixels wide, stronger on the ground than in the sky."""
    height, width = image.shape[:2]
    stains = np.zeros((height, width), dtype=np.float32)
    for cell, strength in ((24, 7.0), (3, 5.0)):
        coarse = rng.standard_normal((height // cell + 2, width // cell + 2), dtype=np.float32) * strength
        stains += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    stains[:HORIZON] *= 0.5
    return np.clip(image + stains[:, :, None], 0, 255).astype(np.uint8)
