"""Parquet files with one thing wrong, made from legal ones."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pyarrow
from hypothesis import strategies as st
from mutations import Mutant, Mutants, damaged
from pyarrow import parquet

_CELLS = [
    *(None, True, 0, -1, 7, 2**31, 2**62, -(2**62), 0.5, -0.0, 1e-9, 1e30, float("nan"), float("inf"), -float("inf")),
    *("", "x", "../../x", "a\0b", "\x1b[31m", "\u202e", "n" * 5000, b"", b"\xff\xd8", [], [1, 2], {"a": 1}),
]


def tables(data: bytes) -> Mutants:
    """Files made from `data`, which is a legal Parquet file: of other columns, cells or rows, or with other bytes."""
    return st.one_of(_changed(data), _changed(data), damaged(data))


def _changed(data: bytes) -> Mutants:
    @st.composite
    def mutant(draw: st.DrawFn) -> Mutant:
        table = parquet.read_table(BytesIO(data))
        place = draw(st.integers(0, table.num_columns - 1))
        name, row = table.column_names[place], draw(st.integers(0, len(table) - 1))
        change = draw(
            st.sampled_from(["cell", "cell", "column", "drop", "rename", "twice", "repeat", "no row", "no rows", "none"])
        )
        if change in ("cell", "column"):
            table = table.set_column(place, name, _with(table[name], row, draw(st.sampled_from(_CELLS)), change == "column"))
        elif change == "drop":
            table = table.remove_column(place)
        elif change == "rename":
            table = table.rename_columns([one if one != name else "x" for one in table.column_names])
        elif change == "twice":
            table = table.append_column(name, table[name])
        elif change != "none":
            rows = {"repeat": [*range(len(table)), row], "no row": [i for i in range(len(table)) if i != row], "no rows": []}
            table = table.take(pyarrow.array(rows[change], pyarrow.int64()))
        file = BytesIO()
        packed = draw(st.sampled_from(["none", "snappy", "zstd"]))
        parquet.write_table(table, file, row_group_size=draw(st.sampled_from([1, 2, 100])), compression=packed)
        return Mutant(file.getvalue(), f"{change} {name}, {packed}", change == "none")

    return mutant()


def _with(column: pyarrow.ChunkedArray, row: int, value: Any, everywhere: bool) -> pyarrow.Array:
    """A column with another value in a row; in all of them, too, if the column cannot hold it."""
    values = column.to_pylist()
    values[row] = value
    try:
        return pyarrow.array([value] * len(values) if everywhere else values)
    except (pyarrow.ArrowException, OverflowError):
        return pyarrow.array([value] * len(values))
