"""AP with its margin, as text."""

from __future__ import annotations

MARGIN = "± stands before half of a 95 % interval, from the scatter over images"


def with_margin(figure: float | None, margin: float | None) -> str:
    """`67.4 ± 1.2`, without a margin `67.4`, and `-` for no figure."""
    if figure is None:
        return "-"
    return f"{figure:.1f}" if margin is None else f"{figure:.1f} ± {margin:.1f}"
