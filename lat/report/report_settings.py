"""What the report shows; a run has the defaults."""

from __future__ import annotations

from dataclasses import dataclass

from lat.core.errors import InputError


@dataclass(frozen=True)
class ReportSettings:
    """What the report shows."""

    images_per_pair: int = 10000  # most images shown for each source and target: the most doubtful ones, and a spread of the rest

    def __post_init__(self) -> None:
        if self.images_per_pair < 0:
            raise InputError("images_per_pair", f"is {self.images_per_pair}", "choose 0 or more")
