"""Columns of Arrow tables from arrays and back, bit by bit.

They go through Arrow's buffers: its own conversions from and to arrays import pandas, which takes a second, wherever it is
installed.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def to_column(values: np.ndarray) -> pa.Array:
    """A column of numbers or truth values from (A,), or of lists of K numbers from (A, K)."""
    flat = np.ascontiguousarray(values).reshape(-1)
    buffer = np.packbits(flat, bitorder="little") if flat.dtype == bool else flat
    column = pa.Array.from_buffers(pa.from_numpy_dtype(flat.dtype), len(flat), [None, pa.py_buffer(buffer)])
    return column if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(column, values.shape[1])


def from_column(column: pa.ChunkedArray) -> np.ndarray:
    """The array of a column that `to_column` made: one of its own, for those that Arrow lends cannot be written to."""
    if pa.types.is_fixed_size_list(column.type):
        return _values(column.combine_chunks().flatten()).reshape(len(column), column.type.list_size)
    return _values(column.combine_chunks())


def _values(column: pa.Array) -> np.ndarray:
    """The values of a column without nulls, copied."""
    assert not column.null_count
    buffer, start, stop = column.buffers()[1], column.offset, column.offset + len(column)
    if pa.types.is_boolean(column.type):
        bits = np.frombuffer(buffer, np.uint8) if buffer is not None else np.zeros(0, np.uint8)
        return np.unpackbits(bits, count=stop, bitorder="little")[start:].astype(bool)
    dtype = np.dtype(column.type.to_pandas_dtype())
    values = np.frombuffer(buffer, dtype, count=stop) if buffer is not None else np.zeros(0, dtype)
    return values[start:].copy()
