"""Label tables from rows, for any test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from lat.core.label_space import LabelSpace
from lat.labels.class_scores import TopScores
from lat.labels.provenance import AppliedPrior, Provenance
from lat.labels.table import LabelTable

PETS = LabelSpace("pets", ("cat", "dog"), (7, 3))

Row = tuple[int, int, Sequence[float], float, bool]  # image position, class index, box xyxy, score, crowd


def row(image: int, label: int, box: Sequence[float], score: float = 1.0, crowd: bool = False) -> Row:
    return image, label, box, score, crowd


def table(rows: Sequence[Row], image_ids: Sequence[int] = (1, 2), space: LabelSpace = PETS, path: str = "t.json") -> LabelTable:
    """A table of these images and boxes; images are 100 x 100."""
    rows = sorted(rows, key=lambda each: each[0])
    counts = np.bincount([each[0] for each in rows], minlength=len(image_ids)) if rows else np.zeros(len(image_ids))
    return LabelTable(
        path=Path(path),
        space=space,
        image_ids=np.array(image_ids, dtype=np.int64),
        file_names=tuple(f"{i}.png" for i in image_ids),
        sizes_hw=np.full((len(image_ids), 2), 100, dtype=np.int32),
        splits=("",) * len(image_ids),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes_xyxy=np.array([each[2] for each in rows], dtype=np.float32).reshape(-1, 4),
        labels=np.array([each[1] for each in rows], dtype=np.int64),
        scores=np.array([each[3] for each in rows], dtype=np.float32),
        is_crowd=np.array([each[4] for each in rows], dtype=bool),
        annotation_ids=np.arange(1, len(rows) + 1, dtype=np.int64),
    )


def assert_same_table(first: LabelTable, second: LabelTable) -> None:
    """All fields equal, bit for bit and of one type."""
    assert_same(first, second, "table")


def assert_same(first: object, second: object, name: str) -> None:
    assert type(first) is type(second), name
    if isinstance(first, LabelTable | Provenance | AppliedPrior | TopScores):
        for field in fields(first):
            assert_same(getattr(first, field.name), getattr(second, field.name), f"{name}.{field.name}")
    elif isinstance(first, np.ndarray):
        assert isinstance(second, np.ndarray)
        assert (first.dtype, first.shape) == (second.dtype, second.shape), name
        np.testing.assert_array_equal(first, second, name)
    else:
        assert first == second, name
