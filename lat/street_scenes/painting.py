"""Paint a scene: from its road users to the picture and the exact extents of everything in it."""

from __future__ import annotations

import numpy as np

from lat.street_scenes.backdrop import Look, develop, draw_backdrop
from lat.street_scenes.canvas import Canvas
from lat.street_scenes.protocols import PaintedUser
from lat.street_scenes.scene import IMAGE_SIZE_HW, OUTLINE_METRES, Difficulty, Placement, arrange_scene, draw_depth
from lat.street_scenes.shapes import body_patches, post_patches, rider_patches


def paint_scene(rng: np.random.Generator, difficulty: Difficulty, look: Look) -> tuple[np.ndarray, list[PaintedUser]]:
    """Draw one street image.

    Returns:
        The image (H, W, 3) uint8 RGB, and its road users back to front.
    """
    canvas = Canvas(draw_backdrop(rng, look))
    users = arrange_scene(rng, difficulty)
    posts = _arrange_posts(rng, difficulty)
    numbers: list[tuple[int, int | None]] = []
    for user in users:
        while posts and posts[0].y_ground <= user.placement.y_ground:
            canvas.paint_clutter(post_patches(rng), posts.pop(0))
        canvas.paint_shadow(user.placement, OUTLINE_METRES[user.kind][0])
        body = canvas.paint(body_patches(user.kind, user.looks_alike, rng), user.placement)
        rider = canvas.paint(rider_patches(user.kind, user.looks_alike, rng), user.placement) if user.ridden else None
        numbers.append((body, rider))
    for post in posts:
        canvas.paint_clutter(post_patches(rng), post)
    painted = [
        PaintedUser(user.kind, canvas.extent(body), None if rider is None else canvas.extent(rider))
        for user, (body, rider) in zip(users, numbers, strict=True)
    ]
    return develop(canvas.image, look, difficulty, rng), painted


def _arrange_posts(rng: np.random.Generator, difficulty: Difficulty) -> list[Placement]:
    """Positions of lamp posts and bushes, back to front."""
    posts = []
    for _ in range(int(rng.integers(0, difficulty.posts + 1))):
        y_ground, scale = draw_depth(rng, difficulty)
        posts.append(Placement(IMAGE_SIZE_HW[1] * rng.random(), y_ground, scale, bool(rng.random() < 0.5)))
    return sorted(posts, key=lambda post: post.y_ground)
