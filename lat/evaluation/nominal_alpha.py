"""How far two annotators agree on classes beyond what chance would give."""

from __future__ import annotations

import numpy as np


def nominal_alpha(first: np.ndarray, second: np.ndarray) -> float | None:
    """Krippendorff's alpha of two annotators who gave each of U units one value, for values without an order.

        alpha = 1 - (n - 1) * sum(o_ck, c != k) / sum(n_c * n_k, c != k)

    where n = 2 U is the number of values, n_c how many of them are c, and o_ck how many ordered pairs (c, k) the units have: a
    unit on which the two differ counts twice, as (c, k) and (k, c). 1 is full agreement, 0 is that of values drawn at random
    from all that were given, and below 0 is less than that.

    Args:
        first, second: (U,) int64 values, in one numbering.

    Returns:
        None if there are no units or all values are the same: then there is nothing to agree on.

    Source: K. Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, section B (nominal data, two observers).
    """
    values = np.concatenate([first, second])
    counts = np.unique(values, return_counts=True)[1].astype(np.float64)
    by_chance = len(values) ** 2 - float((counts**2).sum())
    if by_chance == 0:
        return None
    return 1 - (len(values) - 1) * 2 * int((first != second).sum()) / by_chance
