"""The page on conventions: where the other protocol's box lies."""

from __future__ import annotations

import numpy as np

from lat.report.convention_page import moved_box


def side(median: float, margin: float) -> dict[str, float]:
    return {"median": median, "low": median - margin, "high": median + margin, "scatter": 1.0}


def test_sides_move_by_their_share_of_the_box_where_the_direction_is_beyond_doubt() -> None:
    sides = {"left": side(10, 2), "top": side(-20, 5), "right": side(3, 4), "bottom": None}
    moved = moved_box(np.array([100.0, 100.0, 200.0, 150.0]), sides)
    assert moved.tolist() == [110.0, 90.0, 200.0, 150.0]  # ours reaches further left and less far up than the other's
