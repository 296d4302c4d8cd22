"""What a format that can be read back carries along with each box, besides its class."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lat.labels.provenance import ORIGINS
from lat.labels.table import LabelTable

_NAMES = {int(value): name for name, value in ORIGINS.items()}


MIN_SCORE = "min_score"
"""What the `--min-score` of an export is called in it, so that `lat import` knows which boxes nobody has seen."""


DOUBT = "doubt"
"""What the doubt of a label is called; none is read back."""


def remarks(table: LabelTable, row: int, doubts: Mapping[int, float] = MappingProxyType({})) -> dict[str, Any]:
    """Id, score, crowd flag, provenance and doubt of a box, as JSON values; the id lets its correction find it again."""
    found: dict[str, Any] = {"annotation_id": int(table.annotation_ids[row]), "score": round(float(table.scores[row]), 6)}
    if table.is_crowd[row]:
        found["iscrowd"] = 1
    if (origins := table.provenance) is not None:
        found["origin"] = _NAMES[int(origins.origin[row])]
        found["origin_space"] = origins.spaces[int(origins.space[row])]
        if origins.annotation_ids[row] > 0:
            found["origin_id"] = int(origins.annotation_ids[row])
    if (value := doubts.get(found["annotation_id"])) is not None:
        found[DOUBT] = value
    return found
