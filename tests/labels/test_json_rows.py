"""Rows of columns have the bytes that Python's `json` writes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lat.labels.coco.json_rows import json_of_rows


def by_python(columns: dict[str, list[Any]]) -> str:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return json.dumps(rows, separators=(",", ":"))


def test_rounded_numbers_are_written_as_python_writes_them() -> None:
    spread = np.random.default_rng(0).random(20_000)
    columns = {
        "scores": np.round(spread ** np.arange(1, 20_001).__mod__(12), 6).reshape(-1, 4).tolist(),  # many are below 0.0001
        "bbox": np.round(spread * 5000, 4).reshape(-1, 4).tolist(),
        "iscrowd": [0] * 5000,
    }
    assert json_of_rows(columns) == by_python(columns)


@pytest.mark.parametrize(
    "value",
    [
        *(0.0, -0.0, 1e-6, -1e-6, 2.3e-5, -2e-5, 1e-4, 0.00012, 10.00002, 100.00003, 1e15, 1e16, 1.5e300, 5e-324, 1e-7),
        *(1.25e-5, 0.00001234567, 1 / 30_000, 1 / 3),
        *("scene2", "e-6", "0.00002", "größe", 'q"r', "a\\b", "\x7f", "\n", None, True, {"factor": 4e-05, "kept": False}, []),
    ],
)
def test_values_that_are_written_in_two_ways_are_written_as_python_does(value: Any) -> None:
    columns = {"id": [1, 2], "value": [value, [value, 0.5, value]]}
    assert json_of_rows(columns) == by_python(columns)
