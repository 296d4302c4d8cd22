"""Numbers that the shards of a job find, which a step needs all of before it can go on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from lat.core.files import open_atomically
from lat.labels.store.columns import from_column, to_column

_INPUTS = b"lat.inputs"


class ColumnShards:
    """A folder with a Parquet file of columns for each shard, whole or not at all; values come back bit by bit.

    Args:
        folder: where they are; it need not exist.
        inputs: hash of all that they are computed from: those of other inputs count as missing.
    """

    def __init__(self, folder: Path, inputs: str) -> None:
        self.folder, self.inputs = folder, inputs.encode()

    def path(self, shard: int) -> Path:
        return self.folder / f"part-{shard:05d}.parquet"

    def has(self, shard: int) -> bool:
        try:
            found = parquet.read_metadata(self.path(shard)).metadata or {}
        except (OSError, pa.ArrowException):
            return False
        return found.get(_INPUTS) == self.inputs

    def write(self, shard: int, columns: Mapping[str, np.ndarray]) -> Path:
        """Write the columns of a shard: (N,) or (N, W) arrays, at least one."""
        arrays = {name: to_column(column) for name, column in columns.items()}
        with open_atomically(self.path(shard)) as file:
            parquet.write_table(pa.table(arrays).replace_schema_metadata({_INPUTS: self.inputs}), file, compression="zstd")
        return self.path(shard)

    def read(self, count: int) -> dict[str, np.ndarray]:
        """The columns of the first `count` shards, one after another; {} for none.

        Raises:
            OSError: if one is missing.
        """
        parts = [parquet.ParquetFile(self.path(shard)).read(use_threads=False) for shard in range(count)]
        names = parts[0].column_names if parts else []
        return {name: np.concatenate([from_column(part[name]) for part in parts]) for name in names}

    def remove(self) -> None:
        """Delete all shards, when what was needed of them is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
