"""Print the rows of a benchmark as a Markdown table and, with `--json FILE`, the same columns as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from lat.core.files import write_atomically

Row = Mapping[str, object]


def print_rows(benchmark: str, rows: Sequence[Row], json_file: Path | None = None) -> None:
    """Print rows with equal columns as a Markdown table, and write {"benchmark", "rows"} if a file is given."""
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(row[column]) for column in columns) + " |")
    if json_file is not None:
        write_atomically(json_file, json.dumps({"benchmark": benchmark, "rows": list(rows)}, indent=2) + "\n")


def spread(values: Sequence[float]) -> str:
    """Mean and, for several values, standard deviation, with one decimal."""
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")
