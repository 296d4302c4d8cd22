"""Columns of Arrow tables from arrays and back, bit by bit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def to_column(values: np.ndarray) -> pa.Array:
    """A column of numbers from (A,), or of lists of K numbers from (A, K)."""
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])


def from_column(column: pa.ChunkedArray) -> np.ndarray:
    """The array of a column that `to_column` made: one of its own, for those that Arrow lends cannot be written to."""
    if not pa.types.is_fixed_size_list(column.type):
        return _own(column.to_numpy())
    return _own(column.combine_chunks().flatten().to_numpy(zero_copy_only=False)).reshape(len(column), column.type.list_size)


def _own(values: np.ndarray) -> np.ndarray:
    return values if values.flags.writeable else values.copy()
