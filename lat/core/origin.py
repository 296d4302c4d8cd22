"""Where a proposal or a label came from."""

from __future__ import annotations

from enum import IntEnum


class Origin(IntEnum):
    """Where a proposal or a label came from; `PERSON` is a label that a person drew or changed in another tool."""

    GROUND_TRUTH = 0
    PSEUDO_LABEL = 1
    BACKGROUND = 2
    PERSON = 3
