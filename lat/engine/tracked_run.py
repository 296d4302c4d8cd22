"""What a training is called where its figures are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TrackedRun:
    """What a training is called where its figures are shown.

    Attributes:
        folder: where trackers keep what is not on a server: the folder of the run of `lat`.
        project: the name of that folder.
        name: dataset and stage of the training.
        settings: plain values to be shown beside the figures.
    """

    folder: Path
    project: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
