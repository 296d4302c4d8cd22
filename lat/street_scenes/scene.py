"""Arrange a street scene: its road users, their positions and sizes, and their order from back to front."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

IMAGE_SIZE_HW = (144, 192)


class Kind(StrEnum):
    """The kind of a road user; protocols give kinds their class names."""

    CAR = "car"
    TRUCK = "truck"
    BUS = "bus"
    MOTORCYCLE = "motorcycle"
    BICYCLE = "bicycle"
    ADULT = "adult"
    CHILD = "child"


@dataclass(frozen=True)
class Difficulty:
    """What makes a benchmark easy or hard.

    The pixel scale, in pixels per metre, grows from `far_scale` at the back of the street to `near_scale` at the front.
    """

    users_min: int  # fewest road users placed in an image
    users_max: int  # most road users placed in an image
    far_scale: float  # pixels per metre at the back of the street
    near_scale: float  # pixels per metre at the front of the street
    max_covered: float  # largest share of a road user's outline that another may cover
    hidden_chance: float  # probability of an image in which one road user may be almost or fully hidden
    look_alikes: float  # share of trucks and buses, bicycles and motorcycles, adults and children drawn with one shared look
    posts: int  # maximum number of lamp posts and bushes in front of road users
    noise: float  # factor on the look's sensor noise
    blur: float  # factor on the look's blur


DIFFICULTIES: dict[str, Difficulty] = {
    "easy": Difficulty(
        users_min=3, users_max=7, far_scale=18.0, near_scale=28.0, max_covered=0.3, hidden_chance=0.2,
        look_alikes=0.0, posts=1, noise=1.0, blur=1.0,
    ),
    "hard": Difficulty(
        users_min=5, users_max=9, far_scale=11.0, near_scale=20.0, max_covered=0.65, hidden_chance=0.5,
        look_alikes=0.8, posts=3, noise=2.2, blur=1.4,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Placement:
    """The position of an object: its ground point in pixels, its pixel scale, and whether it faces left.

    x_ground and y_ground are the middle of its bottom edge; pixel coordinates are continuous, as in boxes.
    """

    x_ground: float
    y_ground: float
    pixels_per_metre: float
    faces_left: bool


@dataclass(frozen=True)
class RoadUser:
    """One road user of a scene.

    Attributes:
        kind: what it is.
        ridden: whether a person rides it; only bicycles and motorcycles are ridden.
        looks_alike: whether it is drawn with a look that its kind shares with another kind.
        placement: its position.
    """

    kind: Kind
    ridden: bool
    looks_alike: bool
    placement: Placement


KIND_SHARES = {
    Kind.CAR: 0.24,
    Kind.TRUCK: 0.12,
    Kind.BUS: 0.12,
    Kind.MOTORCYCLE: 0.13,
    Kind.BICYCLE: 0.16,
    Kind.ADULT: 0.13,
    Kind.CHILD: 0.10,
}
RIDDEN_SHARES = {Kind.MOTORCYCLE: 0.75, Kind.BICYCLE: 0.55}
# Width and height in metres of a toy street: vehicles are shorter than real ones, so that people are not tiny beside them.
OUTLINE_METRES = {
    Kind.CAR: (2.5, 1.2),
    Kind.TRUCK: (3.0, 1.9),
    Kind.BUS: (3.1, 1.7),
    Kind.MOTORCYCLE: (1.7, 1.5),
    Kind.BICYCLE: (1.6, 1.6),
    Kind.ADULT: (0.85, 1.75),
    Kind.CHILD: (0.7, 1.15),
}
# Back and front of the street as shares of the image height.
BACK_OF_STREET, FRONT_OF_STREET = 0.56, 0.97
TRIES_PER_USER = 12
FEWEST_USERS = 3
# A road user counts as almost hidden if another covers this share of its outline.
HIDDEN_SHARE = 0.7


def arrange_scene(rng: np.random.Generator, difficulty: Difficulty) -> list[RoadUser]:
    """Place the road users of one image, back to front (the last one is in front of all others).

    If the street is full, it places fewer than `difficulty` specifies, but at least `FEWEST_USERS`.
    """
    wanted = int(rng.integers(difficulty.users_min, difficulty.users_max + 1))
    may_hide = rng.random() < difficulty.hidden_chance
    users: list[RoadUser] = []
    for _ in range(wanted):
        for _ in range(TRIES_PER_USER):
            user = _draw_user(rng, difficulty)
            most_covered = max((_covered_share(user, other) for other in users), default=0.0)
            hides = may_hide and most_covered >= HIDDEN_SHARE
            if most_covered <= difficulty.max_covered or hides:
                may_hide = may_hide and not hides
                users.append(user)
                break
        else:
            if len(users) < FEWEST_USERS:
                users.append(user)
    return sorted(users, key=lambda user: user.placement.y_ground)


def draw_depth(rng: np.random.Generator, difficulty: Difficulty) -> tuple[float, float]:
    """A ground line of the street (pixels from the top) and its pixels per metre, by a linear perspective."""
    nearness = rng.random()
    y_ground = IMAGE_SIZE_HW[0] * (BACK_OF_STREET + nearness * (FRONT_OF_STREET - BACK_OF_STREET))
    return y_ground, difficulty.far_scale + nearness * (difficulty.near_scale - difficulty.far_scale)


def _draw_user(rng: np.random.Generator, difficulty: Difficulty) -> RoadUser:
    kinds = list(KIND_SHARES)
    kind = kinds[int(rng.choice(len(kinds), p=list(KIND_SHARES.values())))]
    y_ground, scale = draw_depth(rng, difficulty)
    placement = Placement(
        x_ground=IMAGE_SIZE_HW[1] * rng.uniform(0.05, 0.95),
        y_ground=y_ground,
        pixels_per_metre=scale * rng.uniform(0.92, 1.08),
        faces_left=bool(rng.random() < 0.5),
    )
    ridden = bool(rng.random() < RIDDEN_SHARES.get(kind, 0.0))
    looks_alike = kind is not Kind.CAR and bool(rng.random() < difficulty.look_alikes)
    return RoadUser(kind, ridden, looks_alike, placement)


def _outline_xyxy(user: RoadUser) -> tuple[float, float, float, float]:
    x, y, scale = user.placement.x_ground, user.placement.y_ground, user.placement.pixels_per_metre
    width, height = OUTLINE_METRES[user.kind][0] * scale, OUTLINE_METRES[user.kind][1] * scale
    return x - width / 2, y - height, x + width / 2, y


def _covered_share(user: RoadUser, other: RoadUser) -> float:
    """Share of the rear one's outline that the front one covers."""
    behind, front = sorted((user, other), key=lambda one: one.placement.y_ground)
    ax1, ay1, ax2, ay2 = _outline_xyxy(behind)
    bx1, by1, bx2, by2 = _outline_xyxy(front)
    overlap = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    return overlap / ((ax2 - ax1) * (ay2 - ay1))
