"""Find images that look the same although their files differ: frames of one video, a photograph saved twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

SIDE = 16
ALIKE = 32
"""Bits out of `SIDE`^2 by which two images that look the same may differ. Of the blood cells and street scenes of the benchmarks,
images that show different things differ by 77 bits or more."""

_ROWS_AT_ONCE = 4096


def look_of(pixels: np.ndarray) -> np.ndarray:
    """How an image looks: a difference hash, whether each cell of a small grey copy is brighter than its left neighbour.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        (32,) uint8, 256 bits.
    """
    small = Image.fromarray(pixels).convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BILINEAR)
    grey = np.asarray(small, dtype=np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1])


def near_duplicates(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of images, one of each set, that look the same, in the order of the first.

    Images of one colour, which have no look, are like no other.

    Args:
        first: (N, 32) uint8 looks.
        second: (M, 32) uint8.
    """
    signs, others = _signs(first), _signs(second)
    for start in range(0, len(signs), _ROWS_AT_ONCE):
        for begin in range(0, len(others), _ROWS_AT_ONCE):
            agreement = signs[start : start + _ROWS_AT_ONCE] @ others[begin : begin + _ROWS_AT_ONCE].T
            for i, j in np.argwhere(agreement >= SIDE**2 - 2 * ALIKE).tolist():  # agreeing bits minus those that differ
                if first[start + i].any():
                    yield start + i, begin + j


def _signs(looks: np.ndarray) -> np.ndarray:
    """(N, 256) float32, 1 for a bit that is set and -1 for one that is not."""
    return np.unpackbits(looks.reshape(-1, SIDE**2 // 8), axis=1).astype(np.float32) * 2 - 1
